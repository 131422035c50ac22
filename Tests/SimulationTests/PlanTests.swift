import Foundation
import GRDBSQLite
import Testing

@testable import TaskBridgeStore

/// What a step costs must not grow with the runs that are stored: no statement that changes anything reads a whole table.
@Suite struct PlanTests {
  private static let histories: UInt64 = 40

  /// Read whole, and small: one row for each pause, setting, queue and the like, or those that wait right now.
  private static let small: Set<String> = []

  @Test func noStepReadsAWholeTable() async throws {
    let folder = NSTemporaryDirectory() + "taskbridge-plans-\(UUID().uuidString)"
    defer { do { try FileManager.default.removeItem(atPath: folder) } catch { print("left behind: \(folder)") } }
    let template = try await Player.template(in: folder + "/template")
    var scans: [String: Set<String>] = [:]
    var statements: Set<String> = []
    for seed in 1...Self.histories {
      let player = try await Player(folder: "\(folder)/\(seed)", template: template, keepsLog: false)
      for operation in HistoryGenerator.history(of: seed) { try await player.play(operation) }
      try await player.driveToRest()
      let known = statements
      let plans = try await player.store.writer.exclusively { db throws(StoreError) in
        try db.preparedTexts.filter { !known.contains($0) }.map { text throws(StoreError) in (text, try db.plan(of: text)) }
      }
      for (text, plan) in plans {
        statements.insert(text)
        for step in plan where step.hasPrefix("SCAN ") { scans[step, default: []].insert(text) }
      }
      try await player.close()
    }

    print("plans: \(statements.count) statements")
    for (step, texts) in scans.sorted(by: { $0.key < $1.key }) { print(step, "|", texts.sorted().map { $0.prefix(200).replacing("\n", with: " ") }) }
    #expect(statements.count > 200)
    #expect(Set(scans.keys).subtracting(Self.small) == [])
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
    guard !text.hasPrefix("EXPLAIN"), !text.hasPrefix("PRAGMA"), !text.hasPrefix("BEGIN") else { return [] }
    return try once(composed: "EXPLAIN QUERY PLAN \(text)", []) { row throws(StoreError) in row.text(3) }
  }
}
