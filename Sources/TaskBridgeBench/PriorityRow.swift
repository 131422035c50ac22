import AMQPClient
import Synchronization
import TaskBridgeCore

/// One urgent run behind a million others of its task key.
enum PriorityRow: BenchRow {
  static let name = "priority"
  static let about = "1,000,000 ready runs of priority 200, then one of priority 0: how many others go first."

  static let standardRuns = 1_000_000
  static let priority = 200
  static let queueBound = 1_000
  /// Taken before the second urgent run is sent, so that worker and bridge are in full swing.
  static let swingRuns = 5_000
  static let secondsMax = 120.0

  static func run(_ bench: Bench) async throws -> RowResult {
    let runs = max(4 * swingRuns, bench.options.runs(standardRuns))
    let broker = try await bench.broker()
    let folder = try bench.scratch("store")
    try await fill(runs, folder: folder)
    let bridge = try await bench.bridge(
      store: folder, settings: ["backlog_limit": "100000000", "queue_bound": String(queueBound)])
    let task = StoreSample.task
    try await waitUntilBounded(bridge)

    let answers = try await AnswerQueue(broker)
    let submitter = try await LoadSubmitter(
      broker, exchange: bridge.names.submit, headers: ["tb-priority": 0])
    let watch = UrgentWatch()
    // First while nobody works: the queue of the broker is as full as it may be.
    let resting = try await submit(watch, by: submitter, task, answers)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [task]) { batch, now in watch.arrived(batch, now) }
    let working = Task { try await worker.work(.max) }
    defer { working.cancel() }
    let first = try await watch.found(secondsMax)

    // Then while they are worked off at full speed.
    while worker.taken < swingRuns { try await Task.sleep(for: .milliseconds(5)) }
    let moving = try await submit(watch, by: submitter, task, answers)
    let second = try await watch.found(secondsMax)

    let memory = bridge.peakResidentBytes()
    working.cancel()
    _ = await working.result
    await worker.close()
    await submitter.close()
    await answers.close()
    try await TaskQueues.remove([task], of: bridge, from: broker)
    let worst = max(first.others, second.others)
    return RowResult(
      name: name,
      figures: [
        ("ready runs", Double(runs), ""), ("queue_bound", Double(queueBound), ""),
        ("others first, worker starts after the commit", Double(first.others), "runs"),
        ("others first, worker at full speed", Double(second.others), "runs"),
        ("accepted in, nobody works", resting.seconds * 1e3, "ms"),
        ("accepted in, at full speed", moving.seconds * 1e3, "ms"),
        ("from the answer to the worker, at full speed", second.seconds * 1e3, "ms"),
        ("bridge's largest memory", Double(memory) / 1_048_576, "MiB"),
      ],
      ratios: [
        Ratio(name: "others first", value: Double(worst), target: Double(queueBound), isUpperBound: true)
      ])
  }

  /// Copies of one ready run, in the store before a bridge opens it.
  private static func fill(_ runs: Int, folder: String) async throws {
    let sample = try await StoreSample.make(.ready, folder: folder)
    let image = try {
      let database = try BareStoreDatabase(path: StoreSample.path(in: folder))
      try database.execute("UPDATE runs SET priority = \(priority) WHERE seq = \(sample.sequence)")
      return try BareStoreImage(ofRun: sample.sequence, in: database)
    }()
    try StoreFiller.clone(image, count: runs - 1, folder: folder)
  }

  /// Waits until as many runs are in the broker as may be.
  private static func waitUntilBounded(_ bridge: BridgeProcess) async throws {
    try await bridge.waitForCount(.launched, queueBound, seconds: secondsMax)
  }

  /// Sends the urgent run and waits for the answer, which comes after the commit.
  /// - Returns: how long that took.
  private static func submit(
    _ watch: UrgentWatch, by submitter: LoadSubmitter, _ task: String, _ answers: AnswerQueue
  ) async throws -> Duration {
    let begun = ContinuousClock.now
    watch.prepare()
    try await submitter.submit(1, answerTo: answers.name, body: UrgentWatch.payload) { _ in task }
    let (at, answer) = try await answers.next(seconds: secondsMax)
    guard answer["outcome"]?.stringValue == "inserted" else { throw BenchError("the urgent run was not accepted") }
    watch.committed(at)
    return at - begun
  }
}

/// Counts the runs a worker gets between the commit of an urgent one and that one.
private final class UrgentWatch: Sendable {
  static let payload = Array(#""urgent""#.utf8)

  private struct State {
    var taken = 0
    var takenAtCommit: Int?
    var committedAt: ContinuousClock.Instant?
    var takenBefore: Int?
    var foundAt: ContinuousClock.Instant?
  }

  private let state = Mutex(State())

  func prepare() { state.withLock { $0 = State(taken: $0.taken) } }

  func committed(_ at: ContinuousClock.Instant) {
    state.withLock { state in
      state.committedAt = at
      state.takenAtCommit = state.taken
    }
  }

  func arrived(_ batch: [AMQPDelivery], _ now: ContinuousClock.Instant) {
    state.withLock { state in
      for run in batch {
        if run.body == Self.payload, state.foundAt == nil {
          state.foundAt = now
          state.takenBefore = state.taken
        }
        state.taken += 1
      }
    }
  }

  /// Waits for the urgent run.
  /// - Returns: how many others came after the commit, and how long after it this one did.
  func found(_ secondsMax: Double) async throws -> (others: Int, seconds: Double) {
    let deadline = ContinuousClock.now + .seconds(secondsMax)
    while ContinuousClock.now < deadline {
      let finding: (others: Int, seconds: Double)? = state.withLock { state in
        guard let foundAt = state.foundAt, let before = state.takenBefore, let committedAt = state.committedAt,
          let atCommit = state.takenAtCommit
        else { return nil }
        return (max(0, before - atCommit), max(0, (foundAt - committedAt).seconds))
      }
      if let finding { return finding }
      try await Task.sleep(for: .milliseconds(2))
    }
    throw BenchError("the urgent run did not arrive in \(secondsMax) s")
  }
}
