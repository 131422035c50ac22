package import TaskBridgeCore

/// Up to when something counts for a call on many runs: what comes into being while the call goes on is left alone.
package struct Cutoff: Sendable, Equatable {
  /// More than passes between reading the clock and reading the store.
  static let aheadMilliseconds: Int64 = 60_000

  package var asOf: Timestamp
  /// The clock at this step of the call. What lies ahead of it, by more than a minute, is from before the clock was set
  /// back, and so older than the call.
  package var now: Timestamp

  package init(asOf: Timestamp, now: Timestamp) {
    self.asOf = asOf
    self.now = now
  }

  private var ahead: Timestamp { Timestamp(milliseconds: now.milliseconds + Self.aheadMilliseconds) }

  func includes(_ time: Timestamp) -> Bool { time <= asOf || time > ahead }

  /// The same in SQL; `column` is a fixed name.
  func condition(_ column: String) -> (sql: String, values: [any Bindable]) {
    ("(\(column) <= ? OR \(column) > ?)", [asOf, ahead])
  }
}

extension ComposedQuery {
  mutating func require(_ column: String, within cutoff: Cutoff) {
    let (sql, values) = cutoff.condition(column)
    require(sql, all: values)
  }
}
