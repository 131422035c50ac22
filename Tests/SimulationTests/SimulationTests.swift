import Foundation
import TaskBridgeCore
import Testing

/// Random histories of operations, played on a real store and on a simple model of the rules side by side. After each
/// operation every run is compared, and the invariants are checked by SQL of the test's own.
///
/// A history is made from its seed alone. One that fails prints its seed and the shortest part of it that was found to
/// fail too. Environment:
///
/// - `TASKBRIDGE_SEED=n` plays the history of seed n alone and prints each step.
/// - `TASKBRIDGE_HISTORIES=n` plays n histories instead of 2,000.
@Suite struct SimulationTests {
  private static let historiesDefault = 2_000
  /// Twice as many as the machine that runs every change has cores: each waits for its store's writer now and then.
  private static let lanes = 4
  private static let failuresShown = 3

  /// Moves of the table that no step of the store makes: reserved, or, for `blocked`, without a prerequisite that could
  /// be open again.
  private static let unreachable = [
    "adjusting → dead_lettered", "adjusting → ready", "cancelling → error", "dead_lettered → blocked",
    "error → cancelled", "error → ready", "failed → blocked", "launched → cancelling", "queued → cancelling",
    "waiting → error",
  ]
  private static let happenings =
    BulkVerb.allCases.map { "bulk \($0)" } + [
      "pruned", "deleted", "clock set", "schedule changed", "time fired", "time missed", "time overlap",
      "time duplicate", "successions", "released by age", "released by share", "job ended", "canary well",
      "canary died",
    ] + BulkVerb.allCases.map { "job \($0) changed" }
  /// Said before a report reaches the store.
  private static let unreachableCodes: Set<VerdictCode> = [.malformed, .forbidden]

  private static func number(_ name: String) -> UInt64? {
    ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
  }

  /// I1 to I18, as far as a store alone can be judged: see ``Auditor``.
  @Test func everyHistoryKeepsTheRules() async throws {
    let folder = Player.temporary + "taskbridge-simulation-\(UUID().uuidString)"
    defer { do { try FileManager.default.removeItem(atPath: folder) } catch { print("left behind: \(folder)") } }
    let template = try await Player.template(in: folder + "/template")
    let bench = SimulationBench(folder: folder, template: template)
    if let seed = Self.number("TASKBRIDGE_SEED") {
      let outcome = await bench.play(HistoryGenerator.history(of: seed), name: "seed", keepsLog: true)
      print(outcome.log.joined(separator: "\n"))
      #expect(outcome.failure == nil)
      return
    }

    let histories = Self.number("TASKBRIDGE_HISTORIES") ?? UInt64(Self.historiesDefault)
    let results = await withTaskGroup(of: SimulationBench.Lane.self) { group in
      for lane in 0..<Self.lanes {
        let seeds = Array(stride(from: UInt64(lane + 1), through: histories, by: Self.lanes))
        group.addTask { await bench.play(seeds, failuresMax: Self.failuresShown) }
      }
      return await group.reduce(into: SimulationBench.Lane()) { $0.add($1) }
    }

    for failure in results.failures { Issue.record("\(failure)") }
    let reached = results.reached
    print(
      "simulation: \(results.histories) histories, \(reached.operations) operations, \(reached.crashes) crashes, "
        + "\(reached.aborted) failed commits, \(reached.moves.count) moves of runs, \(reached.codes.count) verdict codes, "
        + "\(reached.refusals.count) refusals, \(results.failures.count) violations")
    for (what, count) in reached.counts.sorted(by: { $0.key < $1.key }) { print("simulation: \(what) \(count)") }
    // Histories that go past a rule say nothing about it.
    if histories >= Self.historiesDefault {
      #expect(results.unreached == Self.unreachable)
      for what in Self.happenings { #expect(reached.counts[what] ?? 0 > 0, "\(what)") }
      #expect(Set(VerdictCode.allCases).subtracting(reached.codes) == Self.unreachableCodes)
    }
  }
}

extension HistoryGenerator {
  static func history(of seed: UInt64) -> [Operation] {
    var generator = HistoryGenerator(seed: seed)
    return generator.history()
  }
}

/// Plays histories, and makes the failing ones short.
struct SimulationBench: Sendable {
  let folder: String
  let template: String

  struct Outcome: Sendable {
    /// What went wrong after how many operations; nil when nothing did.
    var failure: String?
    var played: Int
    var log: [String]
    var reached: Player.Reached
  }

  struct Lane: Sendable {
    var histories = 0
    var failures: [String] = []
    var reached = Player.Reached()

    mutating func add(_ other: Lane) {
      histories += other.histories
      failures += other.failures
      reached.add(other.reached)
    }

    /// Moves of the table that no history made.
    var unreached: [String] {
      Rules.runs.flatMap { from, targets in targets.map { Model.Move(from: from, to: $0) } }
        .filter { !reached.moves.contains($0) }.map { "\($0.from?.rawValue ?? "new") → \($0.to.rawValue)" }.sorted()
    }
  }

  func play(_ seeds: [UInt64], failuresMax: Int) async -> Lane {
    var lane = Lane()
    for seed in seeds {
      let history = HistoryGenerator.history(of: seed)
      let outcome = await play(history, name: "\(seed)")
      lane.histories += 1
      lane.reached.add(outcome.reached)
      guard outcome.failure != nil else { continue }
      lane.failures.append(await report(seed, history, outcome))
      if lane.failures.count == failuresMax { break }
    }
    return lane
  }

  func play(_ history: [Operation], name: String, keepsLog: Bool = false) async -> Outcome {
    var played = 0
    do {
      let player = try await Player(folder: folder + "/" + name, template: template, keepsLog: keepsLog)
      var failure: String?
      do {
        for operation in history {
          played += 1
          try await player.play(operation)
        }
        try await player.driveToRest()
      } catch {
        failure = Self.words(error)
      }
      let outcome = Outcome(failure: failure, played: played, log: player.log, reached: player.reached)
      try await player.close()
      return outcome
    } catch {
      return Outcome(failure: "\(error)", played: played, log: [], reached: Player.Reached())
    }
  }

  private static func words(_ error: any Error) -> String {
    switch error {
    case let difference as Player.Difference: difference.text
    case let violation as Auditor.Violation: violation.text
    default: "\(error)"
    }
  }

  /// Cuts the history after the operation that failed, then leaves out what can be left out.
  private func report(_ seed: UInt64, _ history: [Operation], _ first: Outcome) async -> String {
    var shortest = Array(history.prefix(first.played))
    var outcome = first
    var slice = max(1, shortest.count / 2)
    while true {
      var start = 0
      while start < shortest.count {
        var shorter = shortest
        shorter.removeSubrange(start..<min(start + slice, shortest.count))
        let tried = await play(shorter, name: "\(seed)-short", keepsLog: true)
        if tried.failure != nil {
          shortest = Array(shorter.prefix(tried.played))
          outcome = tried
        } else {
          start += slice
        }
      }
      if slice == 1 { break }
      slice /= 2
    }
    return """
      TASKBRIDGE_SEED=\(seed): \(first.failure ?? "")
      the shortest part of it that fails: \(outcome.failure ?? "")
      \(outcome.log.map { "  " + $0 }.joined(separator: "\n"))
      """.replacing("SimulationTests.", with: "").replacing("TaskBridgeCore.", with: "")
  }
}
