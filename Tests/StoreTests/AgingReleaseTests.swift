import TaskBridgeCore
import Testing

@testable import TaskBridgeStore

/// Aging in the order of release (features T60, P5, S3).
@Suite struct AgingReleaseTests {
  private static func at(_ seconds: Double) -> Timestamp { TestStore.start.adding(seconds: seconds) }

  private static func age(_ policy: inout TaskOverrides) { policy.aging = Aging() }

  @Test("T60: a run of 192 that waits 420 s goes before a new one of 191, stored priority unchanged; off by default")
  func theOrderFollowsAge() async throws {
    for isOn in [true, false] {
      try await withTemporaryStore { test in
        if isOn { try await test.set("a", Self.age) }
        let old = try await test.add("a") { $0.priority = 192 }
        let new = try await test.add("a", now: Self.at(420)) { $0.priority = 191 }
        let urgent = try await test.add("a", now: Self.at(420)) { $0.priority = 189 }

        let released = try await test.release(now: Self.at(420))

        #expect(released.map(\.run.id) == (isOn ? [urgent, old, new] : [urgent, new, old]))
        #expect(released.map(\.run.priority).sorted() == [189, 191, 192])
        #expect(released.first { $0.run.id == old }?.effectivePriority == (isOn ? 190 : 192))
      }
    }
  }

  @Test("T60: no more urgent than the ceiling, and what is more urgent by itself stays first")
  func theCeilingHolds() async throws {
    try await withTemporaryStore { test in
      try await test.set("a", Self.age)
      let old = try await test.add("a") { $0.priority = 255 }
      let young = try await test.add("a", now: Self.at(1_000_000)) { $0.priority = 64 }
      let urgent = try await test.add("a", now: Self.at(1_000_000)) { $0.priority = 63 }

      #expect(try await test.release(now: Self.at(1_000_000)).map(\.run.id) == [urgent, old, young])
    }
  }

  private static let subjects: [ControlSubject] = [
    .bridge, .domain("media"), .task(TaskKey("media.thumbnail")!), .group("g"),
  ]

  @Test("T60: time paused adds no age", arguments: subjects)
  func pausesAddNoAge(subject: ControlSubject) async throws {
    try await withTemporaryFolder { folder in
      let first = TestStore(try openStore(folder))
      let id = try await first.add {
        $0.priority = 192
        $0.group = "g"
      }
      try await first.pause(subject, now: Self.at(100))
      try await first.resume(subject, now: Self.at(1_100))
      try await first.pause(subject, until: Self.at(1_250), now: Self.at(1_200))
      try await first.store.write { tx throws(StoreError) in try tx.endPauses(now: Self.at(9_000)) }
      await first.store.close()

      // It is in the store, not only in memory.
      let test = TestStore(try openStore(folder))
      try await test.set("media.thumbnail", Self.age)
      let before = try await test.effectivePriority(id, now: Self.at(1_469))
      let released = try await test.release(now: Self.at(1_470))
      await test.store.close()

      #expect(before == 191)
      #expect(released.map(\.effectivePriority) == [190])
    }
  }

  @Test("T60: the time a run itself was paused adds no age, also while everything else was paused")
  func ownPausesAddNoAge() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      let id = try await test.add { $0.priority = 192 }
      try await test.pause(.bridge, now: Self.at(50))
      try await test.resume(.bridge, now: Self.at(60))
      _ = try await test.pauseRun(id, now: Self.at(100))
      try await test.pause(.bridge, now: Self.at(150))
      try await test.resume(.bridge, now: Self.at(250))
      let paused = try await test.effectivePriority(id, now: Self.at(100_000))
      _ = try await test.resumeRun(id, now: Self.at(1_100))
      try await test.pause(.bridge, now: Self.at(1_200))
      try await test.resume(.bridge, now: Self.at(1_230))

      // 10 s, 1,000 s and 30 s do not count.
      let effective = try await [1_459.0, 1_460].map { Self.at($0) }.asyncMap {
        try await test.effectivePriority(id, now: $0)
      }

      #expect(paused == 192)
      #expect(effective == [191, 190])
    }
  }

  @Test("T60: a run that was paused before its time ages from its resume")
  func pausedBeforeItsTime() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      let id = try await test.add {
        $0.priority = 192
        $0.delaySeconds = 100
      }
      _ = try await test.pauseRun(id, now: Self.at(10))
      _ = try await test.resumeRun(id, now: Self.at(500))

      #expect(try await test.effectivePriority(id, now: Self.at(919)) == 191)
      #expect(try await test.effectivePriority(id, now: Self.at(920)) == 190)
    }
  }

  @Test("T60: a replay that is given a later time ages from there, and from now when it is brought forward again")
  func anotherTimeForAReplay() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      let id = try await test.add { $0.priority = 192 }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id) { $0.error = WorkerError(type: "x", message: "no", retryable: false) }
      try await test.replay(id, now: Self.at(100))
      func setTime(_ seconds: Double, at now: Double) async throws {
        var change = RunChange()
        change.runAt = .set(Self.at(seconds))
        let wanted = change
        _ = try await test.store.write { tx throws(StoreError) in
          try tx.change(id, wanted, policies: policies, now: Self.at(now), actor: "test")
        }.get()
      }

      try await setTime(1_000, at: 200)
      let postponed = try await [1_359.0, 1_360].map { Self.at($0) }.asyncMap {
        try await test.effectivePriority(id, now: $0)
      }
      try await setTime(600, at: 500)
      let broughtForward = try await [959.0, 960].map { Self.at($0) }.asyncMap {
        try await test.effectivePriority(id, now: $0)
      }

      #expect(postponed == [192, 191])
      #expect(broughtForward == [192, 191])
    }
  }

  @Test("T60: a retry keeps its age, also of a run with a time of its own")
  func aRetryKeepsItsAge() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      let plain = try await test.add { $0.priority = 192 }
      let timed = try await test.add {
        $0.priority = 192
        $0.delaySeconds = 60
      }
      try await test.promote(now: Self.at(60))
      for attempt in 0..<2 {
        let now = Self.at(60 + Double(attempt) * 100)
        for dispatch in try await test.launch(now: now) { try await test.report(.failed, dispatch.id, now: now) }
        try await test.promote(now: Self.at(60 + Double(attempt) * 100 + 99))
      }

      #expect(try await test.effectivePriority(plain, now: Self.at(420)) == 190)
      #expect(try await test.effectivePriority(timed, now: Self.at(420)) == 191)
      #expect(try await test.effectivePriority(timed, now: Self.at(480)) == 190)
    }
  }

  @Test("T60: a retry that is asked to be ready at once keeps its age")
  func aRetryBroughtForward() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      let id = try await test.add { $0.priority = 192 }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.failed, dispatch.id) { $0.retryAfterSeconds = 1_000 }

      let facts = StateFacts(policies: policies, now: Self.at(420), jitter: 0, actor: "test")
      let answer = try await test.store.write { tx throws(StoreError) in
        try tx.setState(of: id, StateRequest(.ready), facts)
      }.get()

      #expect(answer.state == .ready)
      #expect(try await test.effectivePriority(id, now: Self.at(420)) == 190)
    }
  }

  @Test("T60: a superseding run and a replay begin anew")
  func newRunsBeginAnew() async throws {
    try await withTemporaryStore { test in
      try await test.set("media.thumbnail", Self.age)
      try await test.add {
        $0.priority = 192
        $0.dedupKey = "k"
      }
      let heir = try await test.add(now: Self.at(1_000)) {
        $0.priority = 192
        $0.dedupKey = "k"
        $0.onDuplicate = .supersede
      }
      let fresh = try await test.effectivePriority(heir, now: Self.at(1_000))
      let dispatch = try #require(try await test.launch(now: Self.at(1_000)).first)
      try await test.report(.failed, dispatch.id, now: Self.at(1_000)) {
        $0.error = WorkerError(type: "t", message: nil, retryable: false)
      }
      try await test.replay(heir, now: Self.at(5_000))

      #expect(fresh == 192)
      #expect(try await test.effectivePriority(heir, now: Self.at(5_000)) == 192)
      #expect(try await test.effectivePriority(heir, now: Self.at(5_420)) == 190)
    }
  }

  @Test("T60: newest first, the oldest goes all the same once it is more urgent")
  func agingWithLIFO() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") {
        $0.order = .lifo
        $0.aging = Aging()
      }
      let old = try await test.add("a") { $0.priority = 192 }
      var young: [RunID] = []
      for number in 0..<5 {
        young.append(try await test.add("a", now: Self.at(400 + Double(number))) { $0.priority = 192 })
      }

      var released: [RunID] = []
      while case let next = try await test.release(2, now: Self.at(420)), !next.isEmpty {
        released += next.map(\.run.id)
      }

      #expect(released == [old] + young.reversed())
    }
  }

  @Test("T60: newest first, of those that are equally urgent by age the newest goes first")
  func theNewestOfTheMostUrgent() async throws {
    try await withTemporaryStore { test in
      try await test.set("a") {
        $0.order = .lifo
        $0.aging = Aging()
      }
      var ids: [RunID] = []
      for seconds in [0, 1, 2, 400, 401] as [Double] { ids.append(try await test.add("a", now: Self.at(seconds))) }

      // The first three are one step more urgent.
      #expect(try await test.release(now: Self.at(365)).map(\.run.id) == [ids[2], ids[1], ids[0], ids[4], ids[3]])
    }
  }

  @Test("S3, P5: with aging who waits longest is found by an index, however many runs wait")
  func agingSortsNothing() async throws {
    try await withTemporaryStore { test in
      func hasIndex() async throws -> Bool {
        try await test.store.read { tx throws(StoreError) in
          try tx.db.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'runs_waiting'") == 1
        }
      }
      let before = try await test.add("a")
      try await test.release(now: Self.at(1))
      let withoutAging = try await hasIndex()
      try await test.set("a") { $0.aging = Aging() }
      let first = try await test.add("a")
      let released = try await test.release(now: Self.at(2)).map(\.run.id)
      try await test.release(now: Self.at(3))
      let withAging = try await hasIndex()
      let since = Schema.waitsSince(column: "r.")
      let plan = try await test.store.read { tx throws(StoreError) in
        try tx.db.all(
          composed: """
            EXPLAIN QUERY PLAN SELECT \(Run.columns) FROM runs r INDEXED BY runs_waiting WHERE r.state = 'ready'
              AND r.task = ? AND r.group_name IS ? AND r.priority = ? AND r.release_class = ? AND \(since) > ?
              AND \(since) <= ? ORDER BY \(since) DESC, r.seq DESC LIMIT 5
            """, ["a", "g", 1, 1, 0, 1] as [any Bindable]
        ) { row throws(StoreError) in row.text(3) }
      }

      #expect((withoutAging, withAging) == (false, true), "only who uses aging pays for its index")
      #expect(released == [first] && before != first)
      #expect(plan.count == 1 && plan[0].contains("runs_waiting (task=? AND group_name=? AND priority=?"), "\(plan)")
    }
  }

  @Test("T60, P5, S3: whatever waits, the release and the list have the order of age, retries first", arguments: 1...24)
  func theOrderIsThatOfABruteForceSort(seed: Int) async throws {
    try await withTemporaryStore { test in
      var random = Seeded(UInt64(seed))
      var now = TestStore.start
      let groups: [String?] = seed % 2 == 0 ? [nil] : [nil, "g", "h"]
      let order: ReleaseOrder = seed % 4 > 1 ? .lifo : .fifo
      try await test.set("a") {
        $0.aging = Aging()
        $0.order = order
      }
      if seed % 3 == 0 { try await test.set(group: "g") { $0.concurrencyLimit = 1_000 } }
      for number in 0..<120 {
        now = now.adding(seconds: Double.random(in: 0...60, using: &random))
        let priority = [0, 63, 64, 100, 101, 102, 192, 255].randomElement(using: &random)!
        let group = groups.randomElement(using: &random)!
        // Waiting begins with a run's own time, so that runs stand in the line before those that wait longer.
        let delay = random.chance(40) ? Double.random(in: 0...3_000, using: &random) : nil
        let id = try await test.add("a", now: now) {
          $0.priority = priority
          $0.group = group
          $0.delaySeconds = delay
        }
        if random.chance(10) {
          _ = try await test.pauseRun(id, now: now)
          _ = try await test.resumeRun(id, now: now.adding(seconds: 700))
        }
        if number % 40 == 20 {
          try await test.pause(groups.count > 1 ? .group("g") : .domain("a"), now: now)
          now = now.adding(seconds: 500)
          try await test.resume(groups.count > 1 ? .group("g") : .domain("a"), now: now)
        }
        if number == 60 {
          for dispatch in try await test.release(5, now: now) {
            try await test.confirm([dispatch], now: now)
          }
          try await test.takeBack(TaskKey("a")!, now: now)
        }
      }
      let end = now.adding(seconds: 800)
      try await test.promote(now: end)

      let expected = try await test.readyByRank(order, now: end)
      let listed = try await test.listByRelease(order, now: end, task: TaskKey("a")!)
      var released: [RunID] = []
      while case let next = try await test.release(7, now: end), !next.isEmpty { released += next.map(\.run.id) }

      #expect(released == expected, "seed \(seed)")
      #expect(listed == expected, "seed \(seed)")
    }
  }
}

extension TestStore {
  func effectivePriority(_ id: RunID, now: Timestamp) async throws -> Int {
    let run = try await run(id)
    let paused = store.controls.pausedTime(task: run.task, group: run.group, until: now)
    return run.effectivePriority(store.controls.tasks[run.task]?.aging, paused: paused, at: now)
  }

  /// The ready runs, sorted by what the release goes by.
  fileprivate func readyByRank(_ order: ReleaseOrder, now: Timestamp) async throws -> [RunID] {
    var ranked: [(rank: (Int, Int, Int64, Int64), id: RunID)] = []
    let sign: Int64 = order == .fifo ? 1 : -1
    for id in try await readyRuns() {
      let run = try await run(id)
      let priority = try await effectivePriority(id, now: now)
      ranked.append(
        ((priority, run.isRetry ? 0 : 1, sign * run.waitsSince.milliseconds, sign * run.sequence), id))
    }
    return ranked.sorted { $0.rank < $1.rank }.map(\.id)
  }

  /// The list by release, in small pages.
  fileprivate func listByRelease(_ order: ReleaseOrder, now: Timestamp, task: TaskKey) async throws -> [RunID] {
    let controls = store.controls
    func paused(_ group: String?) -> PausedTime { controls.pausedTime(task: task, group: group, until: now) }
    var ordering = ListOrdering(now: now)
    ordering.aging = [
      ListOrdering.AgingTask(
        task: task, aging: Aging(), paused: paused(nil),
        groups: controls.pausedGroups.map { (name: $0, paused: paused($0)) })
    ]
    if order == .lifo { ordering.newestFirst = [task] }
    let wantedOrder = ordering
    var query = RunQuery(sort: .release, limit: 13)
    query.filter.states = [.ready]
    var ids: [RunID] = []
    repeat {
      let wanted = query
      let page = try await store.read { tx throws(StoreError) in try tx.runs(wanted, ordering: wantedOrder) }
      ids += page.items.map(\.run.id)
      query.cursor = page.nextCursor.flatMap { PageCursor(text: $0, scope: wanted.scope) }
    } while query.cursor != nil
    return ids
  }
}

extension Array {
  fileprivate func asyncMap<T>(_ transform: (Element) async throws -> T) async throws -> [T] {
    var values: [T] = []
    for element in self { values.append(try await transform(element)) }
    return values
  }
}
