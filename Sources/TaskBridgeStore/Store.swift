import CSQLite
import Foundation
import GRDB
import GRDBSQLite
package import Logging
import Synchronization
package import TaskBridgeCore

/// The SQLite store of one bridge: the truth about every run.
///
/// One writer connection, which alone checkpoints (the WAL-reset bug of SQLite before 3.51.3, `facts.md` §3), and
/// read-only readers bounded in work. Opening locks the folder, checks the file and migrates it.
package final class Store: Sendable {
  package let identity: StoreIdentity
  let pool: DatabasePool
  let writer: Writer
  private let lock: StoreLock
  package let path: String
  /// As read back from the writing connection.
  package let durability: Durability
  private let logger: Logger

  private init(
    identity: StoreIdentity, pool: DatabasePool, writer: Writer, lock: StoreLock, path: String,
    durability: Durability, logger: Logger
  ) {
    self.identity = identity
    self.pool = pool
    self.writer = writer
    self.lock = lock
    self.path = path
    self.durability = durability
    self.logger = logger
  }

  /// Settings of the SQLite library itself, made before its first use in the process; too late they change nothing.
  private static let withoutMemoryStatistics = taskbridge_sqlite_without_memory_statistics()

  /// Opens or makes the store in `directory`.
  ///
  /// - Parameters:
  ///   - randomBytes: 48 random bytes for a new store's id and secret.
  ///   - onCommit: called on the writer's thread after each commit that left something to do.
  ///   - onFatal: called once when memory and disk may differ; the process must end.
  /// - Throws: `StoreError` `.inUse`, `.unusable`, `.damaged`, `.newer`; the file is then untouched.
  package static func open(
    directory: String, randomBytes: [UInt8], logger: Logger,
    onCommit: @escaping @Sendable (CommitEffects) -> Void = { _ in },
    onFatal: @escaping @Sendable (StoreError) -> Void = { _ in }
  ) throws(StoreError) -> Store {
    _ = withoutMemoryStatistics
    let lock = try StoreLock(directory: directory)
    do throws(StoreError) {
      return try open(
        locked: lock, path: directory + "/taskbridge.db", randomBytes: randomBytes, logger: logger, onCommit: onCommit,
        onFatal: onFatal)
    } catch {
      lock.release()
      throw error
    }
  }

  private static func open(
    locked lock: StoreLock, path: String, randomBytes: [UInt8], logger: Logger,
    onCommit: @escaping @Sendable (CommitEffects) -> Void, onFatal: @escaping @Sendable (StoreError) -> Void
  ) throws(StoreError) -> Store {
    try StoreFile.prepare(path)
    do {
      var configuration = Configuration()
      configuration.busyMode = .timeout(5)
      configuration.maximumReaderCount = 4
      configuration.prepareDatabase { db in
        try db.execute(
          sql: """
            PRAGMA foreign_keys = ON;
            PRAGMA trusted_schema = OFF;
            PRAGMA cell_size_check = ON;
            PRAGMA temp_store = MEMORY;
            PRAGMA mmap_size = 0;
            PRAGMA secure_delete = FAST;
            """)
      }
      let pool = try DatabasePool(path: path, configuration: configuration)
      let durability = try configureWriter(pool)
      try migrate(pool, path: path)
      let identity = try StoreIdentity.load(pool, randomBytes: randomBytes)
      let memory = try pool.read { db in
        guard let handle = db.sqliteConnection else { throw StoreError(.closed, "store: closed") }
        return try CommittedMemory(Connection(handle))
      }
      let writer = Writer(pool: pool, memory: memory, onCommit: onCommit, onFatal: onFatal)
      logger.info("store open", metadata: ["path": "\(path)", "store": "\(identity.storeID)"])
      return Store(
        identity: identity, pool: pool, writer: writer, lock: lock, path: path, durability: durability, logger: logger)
    } catch let error as StoreError {
      throw error
    } catch let error as DatabaseError {
      throw StoreError.sqlite(
        error.extendedResultCode.rawValue,
        "\(path) cannot be opened: \(error.message ?? "unknown"). It was not changed. "
          + "If it is damaged, copy all three files and restore the last backup.")
    } catch {
      throw StoreError(.unusable, "\(path) cannot be opened: \(error)")
    }
  }

  /// Largest file that is checked at each start.
  private static let quickCheckBytesMax = 1 << 30

  /// Durability is a promise: it is read back, and anything but FULL refuses to start.
  private static func configureWriter(_ pool: DatabasePool) throws -> Durability {
    try pool.writeWithoutTransaction { db in
      // GRDB sets NORMAL when it switches to WAL, after `prepareDatabase`.
      try db.execute(
        sql: "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000; PRAGMA journal_size_limit = 67108864")
      let synchronous = try Int.fetchOne(db, sql: "PRAGMA synchronous")
      let journal = try String.fetchOne(db, sql: "PRAGMA journal_mode")
      guard synchronous == 2, journal == "wal" else {
        throw StoreError(
          .unusable, "store: synchronous is \(synchronous ?? -1) and journal \(journal ?? "?"), not 2 (FULL) and wal")
      }
      let pages = try Int.fetchOne(db, sql: "PRAGMA page_count") ?? 0
      let pageBytes = try Int.fetchOne(db, sql: "PRAGMA page_size") ?? 0
      // Above that a check would hold up the start for too long; `taskbridge doctor` names the size.
      let durability = Durability(synchronous: "full", journalMode: journal ?? "")
      guard pages * pageBytes < quickCheckBytesMax else { return durability }
      let check = try String.fetchOne(db, sql: "PRAGMA quick_check(1)")
      guard check == "ok" else {
        throw StoreError(.damaged, "store damaged: \(check ?? "no answer"). Nothing was changed.")
      }
      return durability
    }
  }

  static func migrator() -> DatabaseMigrator {
    var migrator = DatabaseMigrator()
    for migration in Schema.migrations {
      migrator.registerMigration(migration.name) { db in try db.execute(sql: migration.sql) }
    }
    return migrator
  }

  static func newerVersion(_ path: String) -> StoreError {
    StoreError(
      .newer,
      "\(path) was written by a newer version of taskbridge than this one, which knows schema \(Schema.migrations.count). It was not changed; start the newer version."
    )
  }

  private static func migrate(_ pool: DatabasePool, path: String) throws {
    let migrator = migrator()
    if try pool.read({ db in try migrator.hasBeenSuperseded(db) }) { throw newerVersion(path) }
    try migrator.migrate(pool)
  }

  /// Runs `body` in one transaction of the group commit; returns once it is on disk.
  package func write<T: Sendable>(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> T
  ) async throws(StoreError) -> T {
    try await writer.write(body)
  }

  /// Runs `body` on a read-only snapshot.
  ///
  /// - Throws: `StoreError` `.tooExpensive` when it takes more work than ``ReadBudget/callbacksMax`` allows, `.cancelled`
  ///   when the task is cancelled.
  package func read<T: Sendable>(
    _ body: @escaping @Sendable (ReadTransaction) throws(StoreError) -> T
  ) async throws(StoreError) -> T {
    do {
      return try await pool.read { db in
        guard let handle = db.sqliteConnection else { throw StoreError(.closed, "store: closed") }
        let connection = Connection(handle)
        let budget = ReadBudget(handle)
        defer {
          budget.end()
          connection.finalizeAll()
        }
        return try body(ReadTransaction(db: connection))
      }
    } catch {
      // However far it had come.
      if Task.isCancelled { throw StoreError(.cancelled, "store: the read was cancelled") }
      throw Self.readError(error)
    }
  }

  private static func readError(_ error: any Error) -> StoreError {
    switch error {
    case let error as StoreError: error
    case let error as DatabaseError:
      StoreError.sqlite(error.extendedResultCode.rawValue, error.message ?? "read failed")
    default: StoreError(.other, "store: \(error)")
    }
  }

  /// Runs that wait in the store: blocked, scheduled, ready or paused.
  package var backlog: Int { writer.backlog.load(ordering: .relaxed) }

  /// Pauses, settings and rate limits, as of the last commit.
  package var controls: Controls { writer.controls }

  /// Whether nothing is being written or waits to be: a write would cost an fsync of its own.
  package var isIdle: Bool { writer.isIdle }

  /// Size of the file and its WAL, in bytes.
  package func sizes() -> (store: Int, wal: Int) {
    func size(_ path: String) -> Int {
      (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    }
    return (size(path), size(path + "-wal"))
  }

  /// Finishes what is queued, checkpoints and closes.
  package func close() async {
    do throws(StoreError) {
      _ = try await writer.exclusively { db throws(StoreError) in try db.integer("PRAGMA wal_checkpoint(TRUNCATE)") }
    } catch {
      // A reader may still hold the WAL: it is left behind and harmless.
    }
    writer.close()
    do { try pool.close() } catch { logger.warning("store did not close cleanly", metadata: ["error": "\(error)"]) }
    lock.release()
  }
}

/// How commits get to the disk.
package struct Durability: Sendable {
  /// `full`: every commit is on the disk before it is answered. Nothing else is opened.
  package let synchronous: String
  package let journalMode: String
}

/// The reader's side of a snapshot; queries are extension methods of this type.
package struct ReadTransaction {
  let db: Connection
}

/// Bounds a read by the work it does, not by a clock: SQLite calls back every 10,000 steps of its machine.
private final class ReadBudget {
  /// About two seconds on a slow core.
  static let callbacksMax = 20_000
  private var callbacks = 0
  private let handle: OpaquePointer

  init(_ handle: OpaquePointer) {
    self.handle = handle
    sqlite3_progress_handler(
      handle, 10_000,
      { context in
        guard let context else { return 0 }
        let budget = Unmanaged<ReadBudget>.fromOpaque(context).takeUnretainedValue()
        budget.callbacks += 1
        return budget.callbacks > ReadBudget.callbacksMax ? 1 : 0
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  func end() { sqlite3_progress_handler(handle, 0, nil, nil) }
}
