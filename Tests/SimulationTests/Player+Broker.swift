import TaskBridgeCore
import TaskBridgeStore

/// The clock, the release, and what the broker says.
extension Player {
  func advance(to time: Int64) {
    model.now = max(model.now + 1, time)
  }

  func tick() async throws {
    note("tick")
    let (now, policies, sweepsLeases, isFirst) = (now, policies, !model.isBrokerAway, !firesSchedules)
    let ids = runIDs()
    let support = support(ids.ofStore)
    guard
      let due = try await write({ tx throws(StoreError) -> [Timestamp?] in
        try tx.endPauses(now: now)
        _ = try tx.promoteDue(now: now, limit: 500)
        _ = try tx.expire(now: now, limit: 500)
        if sweepsLeases {
          _ = try tx.sweepTimeouts(now: now, limit: 500, policies: policies, jitter: 0.5)
          _ = try tx.sweepLeases(now: now, limit: 500, policies: policies, jitter: 0.5)
        }
        if isFirst { try tx.missSchedules(through: now) }
        _ = try tx.fireSchedules(now: now, runsMax: 1_000, support: support)
        return [try tx.nextDue(), try tx.nextScheduleDue()]
      })
    else { return }
    model.tick()
    model.fireSchedules(isFirst: isFirst, id: ids.ofModel.next)
    firesSchedules = true
    try expect(ids.ofStore.count, ids.ofModel.count, "runs tried for schedules")
    submissions = ids.ofStore.count
    try expect(due.map { $0?.milliseconds }, [model.nextDue, model.nextScheduleDue], "next due time")
  }

  @discardableResult
  func release(max: Int) async throws -> Int {
    // The bridge releases nothing before it is connected again, which it tries at once: most outages are short.
    if max >= 100 { try await reconnect() }
    if model.isBrokerAway { return 0 }
    let now = now
    note("release \(max)")
    guard
      let dispatches = try await write({ tx throws(StoreError) in
        try tx.release(ReleaseRequest(now: now, runsMax: max) { Self.policy($0) })
      })
    else { return 0 }
    let places = dispatches.map { model.place(of: $0.run.id) ?? -1 }
    note("  → \(places)")
    if let wrong = model.release(places, max: max) { throw Difference(text: "release: \(wrong)") }
    for (place, dispatch) in zip(places, dispatches) {
      let run = model.runs[place]
      try expect(dispatch.id.attempt, run.attempt, "attempt of run \(place)")
      try expect(dispatch.id.dispatch, run.dispatch, "dispatch of run \(place)")
      try expect(dispatch.payload.bytes, Array("{\"n\":\(run.payload)}".utf8), "payload of run \(place)")
      try expect(dispatch.effectivePriority, model.effectivePriority(place), "effective priority of run \(place)")
      try expect(dispatch.maxAttempts, run.maxAttempts, "max_attempts of run \(place)")
      try expect(Int64(dispatch.leaseSeconds) * 1_000, model.lease(place), "lease of run \(place)")
      tokens.append(Token(run: place, attempt: run.attempt, dispatch: run.dispatch))
    }
    inFlight += dispatches
    if dispatches.count < max { try await compareHolds() }
    return dispatches.count
  }

  func token(_ dispatch: Dispatch) -> Token {
    Token(run: model.place(of: dispatch.run.id), attempt: dispatch.id.attempt, dispatch: dispatch.id.dispatch)
  }

  func settled(_ dispatches: [Dispatch]) {
    let ids = Set(dispatches.map(\.id))
    inFlight.removeAll { ids.contains($0.id) }
  }

  // MARK: The broker

  func confirm(_ dispatches: [Dispatch]) async throws {
    if model.isBrokerAway || dispatches.isEmpty { return }
    let now = now
    note("confirm \(dispatches.map(token))")
    guard try await write({ tx throws(StoreError) in try tx.confirm(dispatches, now: now) }) != nil else { return }
    for dispatch in dispatches { model.confirm(token(dispatch)) }
    settled(dispatches)
  }

  func unroutable(_ pick: UInt32) async throws {
    guard !model.isBrokerAway, let dispatch = one(of: inFlight, pick) else { return }
    let (now, policy) = (now, policies.policy(dispatch.run.task))
    // Mandatory returns of one dispatch after which it is given up.
    let returnsMax = 1 + Int(pick & 1)
    note("unroutable \(token(dispatch)), given up after \(returnsMax)")
    let isAgain = try await write { tx throws(StoreError) in
      try tx.returned(
        dispatch, text: "no queue", returnsMax: returnsMax, policy: policy, now: now, jitter: 0.5)
    }
    guard let isAgain else { return }
    try expect(isAgain, model.unroutable(token(dispatch), returnsMax: returnsMax), "publish again")
    if !isAgain { settled([dispatch]) }
  }

  func returned(_ pick: UInt32, _ reason: DeadLetterReason?) async throws {
    let token = pick & 3 == 0 ? one(of: tokens, pick >> 2) : one(of: openTokens, pick >> 2)
    guard !model.isBrokerAway, let token else { return }
    let (now, policies) = (now, policies)
    let message = ReturnedMessage(
      dispatch: dispatchID(token), event: reason.map { .givenUp($0) } ?? .rejected, detail: "back", jitter: 0.5)
    note("returned \(token) \(reason?.rawValue ?? "rejected")")
    let changed = try await write { tx throws(StoreError) in try tx.returned(message, policies: policies, now: now) }
    guard let changed else { return }
    try expect(changed, model.returned(token, givenUp: reason), "returned")
  }

  func takeBack(_ pick: UInt32) async throws {
    guard !model.isBrokerAway, let dispatch = one(of: inFlight, pick) else { return }
    let now = now
    note("take back \(token(dispatch))")
    guard
      try await write({ tx throws(StoreError) in try tx.takeBack([dispatch], reason: "test", now: now) }) != nil
    else { return }
    let token = token(dispatch)
    if let run = token.run, model.runs[run].attempt == token.attempt, model.runs[run].dispatch == token.dispatch {
      model.takeBack(run)
    }
    settled([dispatch])
  }

  func takeBackLaunched(_ pick: UInt32) async throws {
    guard !model.isBrokerAway, let task = one(of: HistoryGenerator.tasks, pick), let key = TaskKey(task) else { return }
    let now = now
    note("take back all of \(task)")
    let count = try await write { tx throws(StoreError) in
      try tx.takeBackLaunched(key, confirmedBefore: nil, reason: "test", limit: 500, now: now)
    }
    guard let count else { return }
    let launched = model.launched(task, before: .max)
    for run in launched { model.takeBack(run) }
    try expect(count, launched.count, "taken back")
  }

  func giveUpOrphans(_ pick: UInt32) async throws {
    guard !model.isBrokerAway, let task = one(of: HistoryGenerator.tasks, pick), let key = TaskKey(task) else { return }
    let (now, policies) = (now, policies)
    let before = model.now - Int64(pick >> 8) % 20_000
    note("orphans of \(task) before \(before)")
    let count = try await write { tx throws(StoreError) in
      try tx.giveUpOrphans(
        key, confirmedBefore: Timestamp(milliseconds: before), limit: 500, policies: policies, now: now, jitter: 0.5)
    }
    guard let count else { return }
    let orphans = model.launched(task, before: before)
    for run in orphans where model.runs[run].state == .launched { model.giveUpOrphan(run) }
    try expect(count, orphans.count, "orphans")
  }

  func publishNotices() async throws {
    note("publish notices")
    guard
      let notices = try await write({ tx throws(StoreError) in try tx.pendingNotices(after: 0, limit: 500) })
    else { return }
    let ids = notices.map(\.outboxID)
    _ = try await write { tx throws(StoreError) in try tx.removeFromOutbox(ids) }
    let expected = model.notices.filter { notice in
      // Resolved before it was mirrored: nothing to publish.
      !notice.isDeadLetter || model.runs[notice.run].deadLetter.map { $0.resolution == nil } ?? false
    }
    let found = notices.map { Model.Notice(isDeadLetter: $0.kind == .dead, run: model.place(of: $0.run.id) ?? -1) }
    try expect(found, expected, "notices")
    model.notices = []
    for notice in expected where notice.isDeadLetter { mirrored.insert(notice.run) }
  }

  func loseBroker() {
    if model.isBrokerAway { return }
    note("the broker is away")
    model.isBrokerAway = true
    inFlight = []
  }

  func reconnect() async throws {
    guard model.isBrokerAway, !isAborting else { return }
    note("reconnect")
    let (now, policies) = (now, policies)
    let open = try await store.read { tx throws(StoreError) in try tx.openLeases() }
    let pending = try await write { tx throws(StoreError) in
      try tx.extendLeases(of: open, now: now, policies: policies)
      return try tx.pendingDispatches(after: nil, limit: 500, policy: policies.policy)
    }
    model.extendLeases()
    model.isBrokerAway = false
    let queued = model.runs.indices.filter { model.runs[$0].state == .queued }
    let expected = queued.map { Token(run: $0, attempt: model.runs[$0].attempt, dispatch: model.runs[$0].dispatch) }
    inFlight = pending ?? []
    try expect(Set(inFlight.map(token)), Set(expected), "publishes of unknown outcome")
  }
}
