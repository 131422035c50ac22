import Foundation
import GRDBSQLite
import Logging
import TaskBridgeCore

@testable import TaskBridgeStore

/// Plays a history on a store of its own and on the model, and compares them after each operation.
final class Player {
  /// The store and the model disagree, or an invariant is broken.
  struct Difference: Error { let text: String }

  let folder: String
  var generation = 0
  var store: Store
  var image: StoreImage
  var auditor = Auditor()
  var model = Model()
  /// Every dispatch that was ever handed over.
  var tokens: [Token] = []
  /// Published, and the broker has said nothing yet.
  var inFlight: [Dispatch] = []
  var mirrored: Set<Model.Place> = []
  /// What the comparison before found.
  var seen = Seen()
  var submissions: UInt64 = 0
  /// What each job has looked up and not worked off yet.
  var desks: [RunID: [BulkCandidate]] = [:]
  /// Schedules have been fired since the bridge came up: what came before is missed.
  var firesSchedules = false
  var isAborting = false
  let keepsLog: Bool
  /// What was played, in words.
  var log: [String] = []
  var reached = Reached()

  /// What histories came by.
  struct Reached {
    var operations = 0
    var crashes = 0
    var aborted = 0
    var moves: Set<Model.Move> = []
    var codes: Set<VerdictCode> = []
    var refusals: Set<String> = []
    /// How often something happened that a history could go past unnoticed.
    var counts: [String: Int] = [:]

    mutating func count(_ what: String, _ times: Int = 1) { counts[what, default: 0] += times }

    mutating func add(_ other: Reached) {
      operations += other.operations
      crashes += other.crashes
      aborted += other.aborted
      moves.formUnion(other.moves)
      codes.formUnion(other.codes)
      refusals.formUnion(other.refusals)
      counts.merge(other.counts, uniquingKeysWith: +)
    }
  }

  static let quiet = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }

  /// - Parameters:
  ///   - folder: does not exist yet.
  ///   - template: an empty store's file.
  ///   - keepsLog: costs more than the play.
  init(folder: String, template: String, keepsLog: Bool) async throws {
    self.keepsLog = keepsLog
    self.folder = folder
    let path = folder + "/0"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try FileManager.default.copyItem(atPath: template, toPath: path + "/taskbridge.db")
    store = try await Self.open(path)
    image = try StoreImage(path: path + "/taskbridge.db")
  }

  /// Makes an empty store in `folder`.
  ///
  /// - Returns: the path of its file.
  static func template(in folder: String) async throws -> String {
    let store = try Store.open(directory: folder, randomBytes: Array(repeating: 7, count: 48), logger: quiet)
    await store.close()
    return folder + "/taskbridge.db"
  }

  /// Where stores are made: in memory where the machine has a place for files there.
  static let temporary = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm/" : NSTemporaryDirectory()

  /// Without fsync: what is tested here is what was written, not whether the disk has it. And without GRDB's look at
  /// each statement that is prepared, which a store that lives for a hundred operations never earns back.
  static func open(_ path: String) async throws -> Store {
    let store = try Store.open(directory: path, randomBytes: Array(repeating: 7, count: 48), logger: quiet)
    _ = try await store.writer.exclusively { db throws(StoreError) in
      sqlite3_set_authorizer(db.handle, nil, nil)
      return try db.run("PRAGMA synchronous = OFF")
    }
    return store
  }

  func read<T: Sendable>(
    _ body: @escaping @Sendable (ReadTransaction) throws(StoreError) -> T
  ) async throws(StoreError) -> T {
    try await store.read { tx throws(StoreError) in
      sqlite3_set_authorizer(tx.db.handle, nil, nil)
      return try body(tx)
    }
  }

  func close() async throws {
    image.close()
    await store.close()
    try FileManager.default.removeItem(atPath: folder)
  }

  /// What the configuration says.
  @Sendable static func policy(_ task: TaskKey) -> TaskPolicy {
    var policy = TaskPolicy()
    if let limit = Request.memoryLimits[task.rawValue] { policy.resourceLimits = ["m": Double(limit)] }
    return policy
  }

  // MARK: Playing

  /// - Throws: ``Difference`` and ``Auditor/Violation``.
  func play(_ operation: Operation) async throws {
    reached.operations += 1
    let endsNoLease = model.isBrokerAway
    try await perform(operation)
    try await compare(endsNoLease: endsNoLease)
    reached.moves.formUnion(model.moves)
  }

  func perform(_ operation: Operation) async throws {
    switch operation {
    case .submit(let pick): try await submit(pick)
    case .batch(let picks, let workflow): try await submit(batch: picks, superseding: workflow)
    case .advance(let milliseconds): advance(to: model.now + milliseconds)
    case .advanceToDue(let offset):
      let due = [model.nextDue, model.nextScheduleDue].compactMap(\.self).min()
      if let due { advance(to: due + offset) }
    case .setClock(let milliseconds): try await setClock(by: milliseconds)
    case .startJob(let wish): try await startJob(wish)
    case .workJob(let pick, let slice): try await workJob(pick, slice: slice)
    case .cancelJob(let pick): try await cancelJob(pick)
    case .schedule(let pick): try await play(pick)
    case .tick: try await tick()
    case .release(let max): try await release(max: max)
    case .confirm(let pick): try await confirm(one(of: inFlight, pick).map { [$0] } ?? [])
    case .confirmAll: try await confirm(inFlight)
    case .report(let pick): try await report([pick], together: false)
    case .burst(let picks): try await report(picks, together: true)
    case .unroutable(let pick): try await unroutable(pick)
    case .returned(let pick, let reason): try await returned(pick, reason)
    case .takeBack(let pick): try await takeBack(pick)
    case .takeBackLaunched(let pick): try await takeBackLaunched(pick)
    case .giveUpOrphans(let pick): try await giveUpOrphans(pick)
    case .publishNotices: try await publishNotices()
    case .cancel(let pick): try await operate(pick, .cancel)
    case .pauseRun(let pick): try await operate(pick, .pause)
    case .resumeRun(let pick): try await operate(pick, .resume)
    case .discard(let pick): try await operate(pick, .discard)
    case .delete(let pick): try await delete(pick)
    case .prune(let wish): try await prune(wish)
    case .bulk(let wish): try await bulk(wish)
    case .setState(let pick, let wish): try await setState(pick, wish)
    case .change(let pick, let change): try await self.change(pick, change)
    case .replay(let pick, let options): try await replay(pick, options)
    case .pause(let pick, let seconds): try await pause(pick, seconds: seconds)
    case .resume(let pick): try await resume(pick)
    case .setTask(let pick, let settings): try await set(task: one(of: HistoryGenerator.tasks, pick) ?? "", settings)
    case .setGroup(let pick, let settings): try await set(group: one(of: HistoryGenerator.groups, pick) ?? "", settings)
    case .loseBroker: loseBroker()
    case .reconnect: try await reconnect()
    case .crash: try await crash()
    case .aborted(let inner):
      isAborting = true
      reached.aborted += 1
      try await perform(inner)
      isAborting = false
    }
  }

  func note(_ text: @autoclosure () -> String) {
    guard keepsLog else { return }
    log.append("\(model.now - 1_800_000_000_000) ms: \(isAborting ? "aborted: " : "")\(text())")
  }

  func one<T>(of choices: [T], _ pick: UInt32) -> T? {
    choices.isEmpty ? nil : choices[Int(pick) % choices.count]
  }

  /// Half of the time a run that has not ended, a quarter one that has left the store, else any.
  func run(_ pick: UInt32) -> Model.Place? {
    let active = model.runs.indices.filter { !model.runs[$0].isEnded }
    let out = active.filter { Rules.slots.contains(model.runs[$0].state) || model.runs[$0].state == .waiting }
    let all = Array(model.runs.indices)
    let choices = pick & 3 == 0 ? all : pick & 3 == 1 && !out.isEmpty ? out : active.isEmpty ? all : active
    return one(of: choices, pick >> 2)
  }

  var now: Timestamp { Timestamp(milliseconds: model.now) }

  /// - Returns: nil when the commit was made to fail.
  func write<T: Sendable>(_ body: @escaping @Sendable (Transaction) throws(StoreError) -> T) async throws -> T? {
    guard isAborting else { return try await store.write(body) }
    do throws(StoreError) {
      _ = try await store.write { tx throws(StoreError) -> T in
        _ = try body(tx)
        throw StoreError(.other, "commit refused by the test")
      }
    } catch {
      guard error.message == "commit refused by the test" else { throw error }
    }
    return nil
  }

  func expect<T: Equatable>(_ found: T, _ expected: T, _ what: @autoclosure () -> String) throws {
    if found != expected { throw Difference(text: "\(what()): the store says \(found), expected \(expected)") }
  }

  var policies: PolicyLookup {
    let controls = store.controls
    return PolicyLookup { controls.policy(Self.policy($0), for: $0) }
  }

  /// The files as they are now, without a word to the one that has them open.
  func crash() async throws {
    note("crash")
    reached.crashes += 1
    let (old, new) = (folder + "/\(generation)", folder + "/\(generation + 1)")
    generation += 1
    try FileManager.default.createDirectory(atPath: new, withIntermediateDirectories: true)
    for name in ["taskbridge.db", "taskbridge.db-wal"] {
      try FileManager.default.copyItem(atPath: "\(old)/\(name)", toPath: "\(new)/\(name)")
    }
    image.close()
    await store.close()
    try FileManager.default.removeItem(atPath: old)
    store = try await Self.open(new)
    image = try StoreImage(path: new + "/taskbridge.db")
    seen.version = nil
    model.isBrokerAway = true
    firesSchedules = false
    inFlight = []
    desks = [:]
    model.passedOver = [:]
    try compareControls()
  }
}
