import Foundation
import GRDB
import TaskBridgeCore

/// What a restore starts from, on the store's side.
package struct RestoreFacts: Sendable {
  package let storeID: String
  /// How many times the store was connected to a broker.
  package let generation: Int
  /// Every run queue the store has used, by name.
  package let queues: [QueueFacts]
}

extension Store {
  /// Reads what a restore would start from without the lock and without a write; a bridge may be running.
  ///
  /// - Throws: `StoreError` `.unusable` when `directory` holds no store of this version, `.newer` when a newer one wrote it.
  package static func restoreFacts(directory: String) throws(StoreError) -> RestoreFacts {
    let path = directory + "/taskbridge.db"
    guard FileManager.default.fileExists(atPath: path) else {
      throw StoreError(.unusable, "there is no store in \(directory); name its folder with --data")
    }
    do {
      var configuration = Configuration()
      configuration.readonly = true
      configuration.busyMode = .timeout(5)
      return try DatabaseQueue(path: path, configuration: configuration).read { db in
        let migrator = migrator()
        if try migrator.hasBeenSuperseded(db) { throw newerVersion(path) }
        guard try migrator.hasCompletedMigrations(db),
          let storeID = try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'store_id'"),
          let handle = db.sqliteConnection
        else {
          throw StoreError(.unusable, "\(path) is of an older version; start this one once: it brings it up to date")
        }
        let connection = Connection(handle)
        defer { connection.finalizeAll() }
        let transaction = Transaction(db: connection, memory: try CommittedMemory(connection))
        return RestoreFacts(
          storeID: storeID, generation: try transaction.generation(), queues: try transaction.queueFacts())
      }
    } catch let error as StoreError {
      throw error
    } catch let error as DatabaseError {
      throw StoreError.sqlite(
        error.extendedResultCode.rawValue, "\(path) cannot be read: \(error.message ?? "unknown"). It was not changed.")
    } catch {
      throw StoreError(.unusable, "\(path) cannot be read: \(error)")
    }
  }
}
