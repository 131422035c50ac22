import GRDBSQLite

/// One connection of plain SQLite: what the store's own figures are put beside, and what fills stores.
///
/// Not thread-safe. The statements made by it must be freed before it.
final class BareStoreDatabase {
  let handle: OpaquePointer

  /// - Parameter path: an existing store file; no bridge may have it open.
  init(path: String) throws {
    var handle: OpaquePointer?
    let code = sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nil)
    guard code == SQLITE_OK, let handle else {
      sqlite3_close_v2(handle)
      throw BenchError("\(path) cannot be opened: \(String(cString: sqlite3_errstr(code)))")
    }
    self.handle = handle
  }

  deinit { sqlite3_close_v2(handle) }

  /// Runs statements whose rows nobody needs.
  func execute(_ sql: String) throws {
    guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw error(sql) }
  }

  func prepare(_ sql: String) throws -> BareStoreStatement {
    var statement: OpaquePointer?
    guard sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil) == SQLITE_OK,
      let statement
    else { throw error(sql) }
    return BareStoreStatement(statement, of: self)
  }

  /// Every row of `sql`.
  func rows(_ sql: String, _ values: [BareStoreValue] = []) throws -> [[BareStoreValue]] {
    let statement = try prepare(sql)
    for (index, value) in values.enumerated() { statement.bind(value, at: Int32(index + 1)) }
    var rows: [[BareStoreValue]] = []
    while try statement.step() { rows.append(statement.row) }
    return rows
  }

  /// The first value of the first row of `sql`; 0 when it is no integer.
  func integer(_ sql: String, _ values: [BareStoreValue] = []) throws -> Int64 {
    guard case .integer(let value) = try rows(sql, values).first?.first else { return 0 }
    return value
  }

  fileprivate func error(_ sql: String) -> BenchError {
    BenchError("\(String(cString: sqlite3_errmsg(handle))): \(sql.prefix(200))")
  }
}

/// A prepared statement.
final class BareStoreStatement {
  private let handle: OpaquePointer
  private let database: BareStoreDatabase

  fileprivate init(_ handle: OpaquePointer, of database: BareStoreDatabase) {
    self.handle = handle
    self.database = database
  }

  deinit { sqlite3_finalize(handle) }

  func bind(_ value: Int64, at index: Int32) { sqlite3_bind_int64(handle, index, value) }

  /// SQLite copies texts and blobs.
  func bind(_ value: BareStoreValue, at index: Int32) {
    let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
    switch value {
    case .null: sqlite3_bind_null(handle, index)
    case .integer(let value): sqlite3_bind_int64(handle, index, value)
    case .real(let value): sqlite3_bind_double(handle, index, value)
    case .text(let text): sqlite3_bind_text(handle, index, text, Int32(text.utf8.count), transient)
    case .blob(let bytes) where bytes.isEmpty: sqlite3_bind_zeroblob(handle, index, 0)
    case .blob(let bytes): sqlite3_bind_blob(handle, index, bytes, Int32(bytes.count), transient)
    }
  }

  /// Binds what stays where it is until the statement has run: SQLite copies nothing.
  func bind(lent bytes: UnsafeRawBufferPointer, isText: Bool, at index: Int32) {
    if isText {
      sqlite3_bind_text(handle, index, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count), nil)
    } else {
      sqlite3_bind_blob(handle, index, bytes.baseAddress, Int32(bytes.count), nil)
    }
  }

  /// - Returns: whether there is a row.
  func step() throws -> Bool {
    switch sqlite3_step(handle) {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default: throw database.error(String(cString: sqlite3_sql(handle)))
    }
  }

  /// Runs a statement without rows and makes it ready to be run again; what was bound stays.
  func run() throws {
    _ = try step()
    sqlite3_reset(handle)
  }

  /// The row the last step has reached.
  var row: [BareStoreValue] {
    (0..<sqlite3_column_count(handle)).map { column in
      switch sqlite3_column_type(handle, column) {
      case SQLITE_INTEGER: .integer(sqlite3_column_int64(handle, column))
      case SQLITE_FLOAT: .real(sqlite3_column_double(handle, column))
      case SQLITE_TEXT: .text(String(decoding: bytes(of: column), as: UTF8.self))
      case SQLITE_BLOB: .blob(bytes(of: column))
      default: .null
      }
    }
  }

  private func bytes(of column: Int32) -> [UInt8] {
    let start = sqlite3_column_blob(handle, column)
    return [UInt8](UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(handle, column))))
  }
}

/// A value as SQLite stores it.
enum BareStoreValue: Hashable {
  case null
  case integer(Int64)
  case real(Double)
  case text(String)
  case blob([UInt8])

  /// As a literal of SQL; for values read from a store, none of which comes from outside.
  var literal: String {
    switch self {
    case .null: "NULL"
    case .integer(let value): "\(value)"
    case .real(let value): "\(value)"
    case .text(let text): "'\(text.replacing("'", with: "''"))'"
    case .blob(let bytes): "x'\(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())'"
    }
  }
}
