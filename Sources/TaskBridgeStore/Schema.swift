import TaskBridgeCore

/// The tables, as a growing list of migrations: a released one is history, the next one mends it.
///
/// Times are milliseconds since 1970 UTC. The lists of legal states and pairs are made from `TaskBridgeCore`, so that
/// schema and code cannot drift apart.
///
/// The columns of a primary key without rowid stand first and in its order: else `quick_check` of SQLite 3.40 reports
/// NULL values that are not there.
enum Schema {
  /// Migrations in order; the name is stored in the file.
  static var migrations: [(name: String, sql: String)] {
    [("1", [meta, runs, ledgers, operation, schedules].joined(separator: "\n"))]
  }

  static func list(_ states: some Sequence<RunState>) -> String {
    states.map { "'\($0.rawValue)'" }.joined(separator: ",")
  }

  static let active = RunState.allCases.filter { !$0.isTerminal }

  /// `(state = 'a' OR state = 'b' …)`. Constraints and partial indexes use this form: for a list of more than two SQLite
  /// builds a temporary table with every single INSERT and UPDATE. A query may use a partial index when it has the
  /// index's chain word for word, or one of its terms.
  static func isRun(_ states: RunState..., column: String = "state") -> String { isAny(states, column) }

  static func isAttempt(_ states: AttemptState..., column: String = "state") -> String { isAny(states, column) }

  static func isAny<Word: RawRepresentable<String>>(_ words: [Word], _ column: String = "state") -> String {
    "(\(words.map { "\(column) = '\($0.rawValue)'" }.joined(separator: " OR ")))"
  }

  /// The states every run goes through first: a chain is left at its first match.
  private static let common: [RunState] = [.completed, .running, .launched, .queued, .ready]

  static func commonFirst(_ states: some Collection<RunState>) -> [RunState] {
    common.filter { states.contains($0) } + states.filter { !common.contains($0) }
  }

  /// Since when a run waits, as `Run.waitsSince` has it.
  static func waitsSince(column prefix: String = "") -> String {
    "coalesce(\(prefix)ages_from, max(\(prefix)created_at, coalesce(\(prefix)run_at, \(prefix)created_at)))"
  }

  /// Every run that ended without success: two looks instead of six.
  static func endedBadly(column prefix: String = "") -> String {
    "(\(prefix)finished_at IS NOT NULL AND \(prefix)state <> 'completed')"
  }

  /// `CASE previous_state WHEN … THEN new_state IN (…)`, with OR chains, which SQLite tests without building a list.
  static var auditPairs: String {
    let birth = Transitions.runBirth.map { "new_state = '\($0.rawValue)'" }.joined(separator: " OR ")
    let moves = commonFirst(RunState.allCases).compactMap { from -> String? in
      guard let targets = Transitions.run[from] else { return nil }
      return
        "WHEN '\(from.rawValue)' THEN \(commonFirst(targets).map { "new_state = '\($0.rawValue)'" }.joined(separator: " OR "))"
    }
    return
      "CASE WHEN previous_state IS NULL THEN (\(birth)) ELSE CASE previous_state \(moves.joined(separator: " ")) ELSE 0 END END"
  }

  private static let meta = """
    CREATE TABLE meta (
      key TEXT PRIMARY KEY NOT NULL,
      value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;
    """
}
