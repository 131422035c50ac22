import TaskBridgeCore
import TaskBridgeStore

/// What people ask for.
extension Player {
  enum Wish: Sendable { case cancel, pause, resume, discard }

  func operate(_ pick: UInt32, _ wish: Wish) async throws {
    guard let run = run(pick) else { return }
    let (id, now) = (model.runs[run].id, now)
    note("\(wish) run \(run)")
    let result = try await write { tx throws(StoreError) in
      switch wish {
      case .cancel: try tx.cancel(id, reason: nil, now: now, actor: "test")
      case .pause: try tx.pause(id, reason: nil, now: now, actor: "test")
      case .resume: try tx.resume(id, reason: nil, now: now, actor: "test")
      case .discard: try tx.discard(id, reason: nil, now: now, actor: "test")
      }
    }
    guard let result else { return }
    let refusal =
      switch wish {
      case .cancel: model.cancel(run)
      case .pause: model.pause(run)
      case .resume: model.resume(run)
      case .discard: model.discard(run)
      }
    try check(result, refusal, "\(wish) run \(run)")
  }

  func check(_ result: Result<RunID, Problem>, _ refusal: String?, _ what: String) throws {
    if let refusal { reached.refusals.insert(refusal) }
    switch result {
    case .success: try expect(nil, refusal, what)
    case .failure(let problem): try expect(problem.code, refusal, what)
    }
  }

  func replay(_ pick: UInt32, _ options: Model.ReplayOptions) async throws {
    let ended = model.runs.indices.filter { model.runs[$0].isEnded }
    guard let run = pick & 7 == 0 ? run(pick >> 3) : one(of: ended, pick >> 3) else { return }
    let (id, now, wanted) = (model.runs[run].id, now, options.retry(model.now))
    note("replay run \(run) \(options)")
    guard
      let result = try await write({ tx throws(StoreError) in
        try tx.replay(id, options: wanted, now: now, actor: "test")
      })
    else { return }
    try check(result, model.replay(run, options), "replay run \(run)")
  }

  func setState(_ pick: UInt32, _ wish: Model.StateWish) async throws {
    guard let run = run(pick) else { return }
    var request = StateRequest(wish.state)
    request.isForced = wish.isForced
    request.transitionID = wish.transitionID
    request.claim = wish.claim
    request.runAt = wish.afterSeconds.map { Timestamp(milliseconds: model.now + Int64($0) * 1_000) }
    let asked = request
    let (id, facts) = (model.runs[run].id, StateFacts(policies: policies, now: now, jitter: 0.5, actor: "test"))
    note("ask run \(run) for \(wish)")
    guard let result = try await write({ tx throws(StoreError) in try tx.setState(of: id, asked, facts) }) else {
      return
    }
    if model.runs[run].isDeleted { return try expect(result, .failure(.runNotFound(id)), "set state") }
    let expected = model.setState(run, wish)
    note("  → \(expected.map { "\($0)" } ?? "transition_mismatch")")
    switch result {
    case .success(let answer):
      let found = Model.StateReply(status: answer.status, code: answer.code, state: answer.state)
      try expect(found, expected, "set state of run \(run)")
      reached.codes.insert(answer.code)
    case .failure(let problem): try expect(expected == nil ? problem.code : "", "transition_mismatch", "set state")
    }
  }

  func change(_ pick: UInt32, _ change: Model.Change) async throws {
    guard let run = run(pick) else { return }
    func field(_ time: Model.NewTime) -> RunChange.Field<Timestamp> {
      switch time {
      case .absent: .absent
      case .none: .set(nil)
      case .after(let seconds): .set(Timestamp(milliseconds: model.now + Int64(seconds) * 1_000))
      }
    }
    var wanted = RunChange()
    wanted.priority = change.priority
    wanted.runAt = field(change.runAt)
    wanted.expiresAt = field(change.expiresAt)
    let (id, now, policies, asked) = (model.runs[run].id, now, policies, wanted)
    note("change run \(run) \(change)")
    let result = try await write { tx throws(StoreError) in
      try tx.change(id, asked, policies: policies, now: now, actor: "test")
    }
    guard let result else { return }
    try check(result, model.change(run, change), "change of run \(run)")
  }

  static let subjects: [ControlSubject] = [
    .bridge, .domain("a"), .task(named: "a.x"), .task(named: "b"), .group("g"),
  ]

  func pause(_ pick: UInt32, seconds: Int?) async throws {
    guard let subject = one(of: Self.subjects, pick) else { return }
    let until = seconds.map { model.now + Int64($0) * 1_000 }
    let (now, end) = (now, until.map { Timestamp(milliseconds: $0) })
    note("pause \(subject) until \(until ?? 0)")
    guard
      try await write({ tx throws(StoreError) in
        try tx.pause(subject, until: end, reason: nil, now: now, actor: "test")
      }) != nil
    else { return }
    model.gates.pause(subject, until: until, at: model.now)
    try compareControls()
  }

  func resume(_ pick: UInt32) async throws {
    guard let subject = one(of: Self.subjects, pick) else { return }
    note("resume \(subject)")
    let now = now
    guard try await write({ tx throws(StoreError) in try tx.resume(subject, now: now) }) != nil else { return }
    model.gates.resume(subject, at: model.now)
    try compareControls()
  }

  func set(task: String, _ settings: Gates.Settings) async throws {
    let key = Request.key(task)
    var overrides = TaskOverrides()
    overrides.queueBound = settings.queueBound
    overrides.concurrencyLimit = settings.limit
    overrides.ratePerSecond = settings.halfRate.map { Double($0) / 2 }
    overrides.rateBurst = settings.burst
    overrides.order = settings.isLIFO ? .lifo : nil
    overrides.leaseSeconds = settings.leaseSeconds
    overrides.aging = settings.aging.map { wanted in
      var aging = Aging()
      aging.graceSeconds = wanted.graceSeconds
      aging.intervalSeconds = wanted.intervalSeconds
      aging.ceiling = wanted.ceiling
      return aging
    }
    let wanted = overrides
    note("set \(task) \(settings)")
    guard try await write({ tx throws(StoreError) in try tx.set(wanted, for: key) }) != nil else { return }
    model.gates.tasks[task] = settings
    if settings.halfRate == nil { model.gates.buckets[.task(key)] = nil }
  }

  func set(group: String, _ settings: Gates.Settings) async throws {
    var wanted = GroupSettings()
    wanted.concurrencyLimit = settings.limit
    wanted.ratePerSecond = settings.halfRate.map { Double($0) / 2 }
    wanted.rateBurst = settings.burst
    wanted.weight = settings.weight
    wanted.minimumSlots = settings.minimumSlots
    let all = wanted
    note("set group \(group) \(settings)")
    guard try await write({ tx throws(StoreError) in try tx.set(all, forGroup: group) }) != nil else { return }
    model.gates.groups[group] = settings
    if settings.halfRate == nil { model.gates.buckets[.group(group)] = nil }
  }
}
