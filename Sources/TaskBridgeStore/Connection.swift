import GRDB
import GRDBSQLite
import Synchronization
import TaskBridgeCore

/// A statement's text. One of the steps every run goes through is kept as a static value, made by ``hot(_:)``: it is
/// put together once in the process and found again by its number, not by hashing its text.
struct Statement: Sendable, ExpressibleByStringInterpolation {
  let text: String
  /// Place in ``Connection``'s list of hot statements.
  fileprivate let number: Int?

  private static let count = Atomic(0)

  init(stringLiteral text: String) {
    self.text = text
    number = nil
  }

  init(text: String) { self.init(stringLiteral: text) }

  private init(text: String, number: Int) {
    self.text = text
    self.number = number
  }

  /// Only for static values: each call takes a new number.
  static func hot(_ text: String) -> Statement {
    Statement(text: text, number: count.add(1, ordering: .relaxed).oldValue)
  }
}

/// Binds values to and steps through prepared statements of one SQLite connection.
///
/// GRDB opens, configures and migrates the connections; the steps of a run's life bind through this type, because
/// GRDB's boxing of arguments and rows costs a third of their CPU time (measured, `facts.md` §8).
/// Not thread-safe: it never leaves the access of the connection it was made for.
final class Connection {
  let handle: OpaquePointer
  /// Prepared once a text; the texts are literals, so there are few.
  private var cache: [String: OpaquePointer] = [:]
  private var hot: [OpaquePointer?] = []

  init(_ handle: OpaquePointer) { self.handle = handle }

  deinit { finalizeAll() }

  /// Frees every statement; must happen before SQLite closes the connection.
  func finalizeAll() {
    for statement in cache.values { sqlite3_finalize(statement) }
    cache.removeAll()
    for statement in hot { sqlite3_finalize(statement) }
    hot.removeAll()
  }

  /// Rows changed by the last statement.
  var changes: Int { Int(sqlite3_changes(handle)) }

  var lastInsertedRowID: Int64 { sqlite3_last_insert_rowid(handle) }

  /// Whether a transaction is open; `SQLITE_FULL` may have ended it.
  var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

  /// Runs a statement that returns no rows.
  @discardableResult
  func run<each Value: Bindable>(_ sql: Statement, _ values: repeat each Value) throws(StoreError) -> Int {
    let statement = try prepare(sql)
    defer { reset(statement) }
    var index: Int32 = 1
    repeat (each values).bind(to: statement, at: &index)
    try step(statement, sql)
    return changes
  }

  /// Runs a statement that returns no rows, with values that `bind` puts into it.
  func run(_ sql: Statement, bind: (OpaquePointer) -> Void) throws(StoreError) {
    let statement = try prepare(sql)
    defer { reset(statement) }
    bind(statement)
    try step(statement, sql)
  }

  /// The first row, mapped; nil when there is none.
  func first<T, each Value: Bindable>(
    _ sql: Statement, _ values: repeat each Value, map: (Row) throws(StoreError) -> T
  ) throws(StoreError) -> T? {
    let statement = try prepare(sql)
    defer { reset(statement) }
    var index: Int32 = 1
    repeat (each values).bind(to: statement, at: &index)
    guard try step(statement, sql) else { return nil }
    return try map(Row(statement))
  }

  /// Every row, mapped.
  func all<T, each Value: Bindable>(
    _ sql: Statement, _ values: repeat each Value, map: (Row) throws(StoreError) -> T
  ) throws(StoreError) -> [T] {
    let statement = try prepare(sql)
    defer { reset(statement) }
    var index: Int32 = 1
    repeat (each values).bind(to: statement, at: &index)
    return try collect(statement, sql, map)
  }

  /// Every row of a statement put together from fixed fragments, with any number of values.
  func all<T>(
    composed sql: String, _ values: [any Bindable], map: (Row) throws(StoreError) -> T
  ) throws(StoreError) -> [T] {
    let sql = Statement(text: sql)
    let statement = try prepare(sql)
    defer { reset(statement) }
    var index: Int32 = 1
    for value in values { value.bind(to: statement, at: &index) }
    return try collect(statement, sql, map)
  }

  /// The same for a text that differs from call to call: the statement is not kept.
  func once<T>(
    composed sql: String, _ values: [any Bindable], map: (Row) throws(StoreError) -> T
  ) throws(StoreError) -> [T] {
    let sql = Statement(text: sql)
    let statement = try compile(sql)
    defer { sqlite3_finalize(statement) }
    var index: Int32 = 1
    for value in values { value.bind(to: statement, at: &index) }
    return try collect(statement, sql, map)
  }

  /// The first column of the first row as an integer; 0 when there is no row.
  func integer<each Value: Bindable>(_ sql: Statement, _ values: repeat each Value) throws(StoreError) -> Int {
    try first(sql, repeat each values) { row in row.int(0) } ?? 0
  }

  private func collect<T>(
    _ statement: OpaquePointer, _ sql: Statement, _ map: (Row) throws(StoreError) -> T
  ) throws(StoreError) -> [T] {
    var rows: [T] = []
    while try step(statement, sql) { rows.append(try map(Row(statement))) }
    return rows
  }

  private func prepare(_ sql: Statement) throws(StoreError) -> OpaquePointer {
    guard let number = sql.number else {
      if let statement = cache[sql.text] { return statement }
      let statement = try compile(sql)
      cache[sql.text] = statement
      return statement
    }
    if number < hot.count, let statement = hot[number] { return statement }
    let statement = try compile(sql)
    if number >= hot.count { hot += Array(repeating: nil, count: number + 1 - hot.count) }
    hot[number] = statement
    return statement
  }

  private func compile(_ sql: Statement) throws(StoreError) -> OpaquePointer {
    var statement: OpaquePointer?
    let code = sqlite3_prepare_v3(handle, sql.text, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
    guard code == SQLITE_OK, let statement else { throw error(sql) }
    return statement
  }

  @discardableResult
  private func step(_ statement: OpaquePointer, _ sql: Statement) throws(StoreError) -> Bool {
    switch sqlite3_step(statement) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default: throw error(sql)
    }
  }

  private func reset(_ statement: OpaquePointer) {
    sqlite3_reset(statement)
    sqlite3_clear_bindings(statement)
  }

  private func error(_ sql: Statement) -> StoreError {
    .sqlite(sqlite3_extended_errcode(handle), String(cString: sqlite3_errmsg(handle)), sql: sql.text)
  }
}

/// One row of a result, valid until the next step.
struct Row {
  private let statement: OpaquePointer

  init(_ statement: OpaquePointer) { self.statement = statement }

  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
  func int(_ column: Int32) -> Int { Int(sqlite3_column_int64(statement, column)) }
  func int64(_ column: Int32) -> Int64 { sqlite3_column_int64(statement, column) }
  func optionalInt(_ column: Int32) -> Int? { isNull(column) ? nil : int(column) }
  func bool(_ column: Int32) -> Bool { int64(column) != 0 }
  func optionalDouble(_ column: Int32) -> Double? { isNull(column) ? nil : sqlite3_column_double(statement, column) }
  func text(_ column: Int32) -> String { optionalText(column) ?? "" }

  func optionalText(_ column: Int32) -> String? {
    guard let bytes = sqlite3_column_text(statement, column) else { return nil }
    let count = Int(sqlite3_column_bytes(statement, column))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  func blob(_ column: Int32) -> [UInt8] { optionalBlob(column) ?? [] }

  func optionalBlob(_ column: Int32) -> [UInt8]? {
    if isNull(column) { return nil }
    guard let bytes = sqlite3_column_blob(statement, column) else { return [] }
    return [UInt8](UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
  }

  func time(_ column: Int32) -> Timestamp { Timestamp(milliseconds: int64(column)) }
  func optionalTime(_ column: Int32) -> Timestamp? { isNull(column) ? nil : time(column) }

  func runID(_ column: Int32) throws(StoreError) -> RunID {
    guard let bytes = sqlite3_column_blob(statement, column), sqlite3_column_bytes(statement, column) == 16 else {
      throw StoreError(.damaged, "store: column \(column) is no run id")
    }
    return RunID(
      high: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
      low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
  }

  func optionalRunID(_ column: Int32) throws(StoreError) -> RunID? { isNull(column) ? nil : try runID(column) }

  /// A value the schema's CHECK limits to the cases of `type`.
  func word<T: RawRepresentable<String>>(_ column: Int32, as type: T.Type) throws(StoreError) -> T {
    guard let value = T(rawValue: text(column)) else {
      throw StoreError(.damaged, "store: \(text(column)) is no \(T.self)")
    }
    return value
  }

  func task(_ column: Int32) throws(StoreError) -> TaskKey {
    guard let key = TaskKey(text(column)) else {
      throw StoreError(.damaged, "store: \(text(column)) is no task key")
    }
    return key
  }
}
