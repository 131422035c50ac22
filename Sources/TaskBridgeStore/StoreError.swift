import GRDBSQLite

/// What can go wrong with the store itself; refusals of a caller's wish are `Problem` values, not errors.
public struct StoreError: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// Another process holds the store.
    case inUse(pid: Int32?, host: String?)
    /// Locked by a foreign writer for longer than the busy timeout.
    case busy
    /// Disk or file system full.
    case full
    /// An I/O error after which memory and disk may differ: the process must end and recover.
    case fatalIO
    /// Not a database, or damaged.
    case damaged
    /// Written by a newer version of the program.
    case newer
    /// The folder or file cannot be used.
    case unusable
    /// The read was stopped because it took too much work.
    case tooExpensive
    /// The store was closed.
    case closed
    /// The task that was reading was cancelled: nobody waits for the answer, and nothing is wrong.
    case cancelled
    /// Anything else SQLite says.
    case other
  }

  public var kind: Kind
  public var message: String
  /// SQLite's extended result code, 0 where none applies.
  public var code: Int32

  public init(_ kind: Kind, _ message: String, code: Int32 = 0) {
    self.kind = kind
    self.message = message
    self.code = code
  }

  /// Whether the same call may work later.
  public var isRetriable: Bool { kind == .busy || kind == .full || kind == .tooExpensive }

  public var description: String { message }

  static func sqlite(_ code: Int32, _ text: String, sql: String? = nil) -> StoreError {
    let kind: Kind =
      switch code & 0xff {
      case SQLITE_BUSY, SQLITE_LOCKED: .busy
      case SQLITE_FULL: .full
      case SQLITE_IOERR: .fatalIO
      case SQLITE_CORRUPT, SQLITE_NOTADB: .damaged
      case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM: .unusable
      case SQLITE_INTERRUPT: .tooExpensive
      default: .other
      }
    let statement = sql.map { " in: \($0.prefix(200))" } ?? ""
    return StoreError(kind, "store: \(text) (SQLite \(code))\(statement)", code: code)
  }
}
