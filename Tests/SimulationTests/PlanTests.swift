import Foundation
import GRDBSQLite
import Testing

@testable import TaskBridgeStore

/// What a step costs must not grow with the runs that are stored: no statement that changes anything reads a whole table.
@Suite struct PlanTests {
  private static let histories: UInt64 = 40

  /// What is read whole, because it holds few rows: values of the statement itself, one row for each schedule, and each job
  /// of a month.
  private static let small = [
    "CONSTANT ROW", "CONSTANT ROWS", "jobs", "schedules",
    "schedules USING COVERING INDEX sqlite_autoindex_schedules_1", "json_each VIRTUAL TABLE INDEX 1:",
  ]
  /// Rows that a part of the statement itself has found; how it finds them is a step of its own.
  private static let derived: Set<String> = ["n", "(subquery-1)"]

  @Test("no step that changes runs reads a whole table")
  func noStepReadsAWholeTable() async throws {
    let folder = Player.temporary + "taskbridge-plans-\(UUID().uuidString)"
    defer { do { try FileManager.default.removeItem(atPath: folder) } catch { print("left behind: \(folder)") } }
    let template = try await Player.template(in: folder + "/template")
    var plans: [String: [String]] = [:]
    for seed in 1...Self.histories {
      let player = try await Player(folder: "\(folder)/\(seed)", template: template, keepsLog: false)
      for operation in HistoryGenerator.history(of: seed) {
        // A crash takes the statements along.
        if case .crash = operation { plans = try await player.plans(beside: plans) }
        try await player.play(operation)
      }
      try await player.driveToRest()
      plans = try await player.plans(beside: plans)
      try await player.close()
    }

    let scans = plans.flatMap { text, steps in
      steps.filter { step in
        let source = step.dropFirst(5)
        return step.hasPrefix("SCAN ") && !Self.derived.contains(String(source))
          && !Self.small.contains { source.hasSuffix($0) }
          // Restore and the probes look at every queue; a run looks at its own.
          && !(source == "queues" && text.hasPrefix("SELECT"))
      }
      .map { "\($0): \(text)" }
    }
    #expect(plans.count > 80, "\(plans.count) statements were seen")
    #expect(scans == [])
  }
}

extension Player {
  /// How SQLite goes about each statement it has prepared, by its text, with those of `known`.
  fileprivate func plans(beside known: [String: [String]]) async throws -> [String: [String]] {
    try await store.writer.exclusively { db throws(StoreError) in
      var plans = known
      for text in db.preparedTexts where plans[text] == nil { plans[text] = try db.plan(of: text) }
      return plans
    }
  }
}

extension Connection {
  /// The texts of all statements that are prepared.
  fileprivate var preparedTexts: [String] {
    var texts: [String] = []
    var statement = sqlite3_next_stmt(handle, nil)
    while let next = statement {
      if let text = sqlite3_sql(next) { texts.append(String(cString: text)) }
      statement = sqlite3_next_stmt(handle, next)
    }
    return texts
  }

  /// How SQLite goes about it.
  fileprivate func plan(of text: String) throws(StoreError) -> [String] {
    try once(composed: "EXPLAIN QUERY PLAN \(text)", []) { row throws(StoreError) in row.text(3) }
  }
}
