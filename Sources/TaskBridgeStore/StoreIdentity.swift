import Foundation
import GRDB

/// What makes this store this store.
package struct StoreIdentity: Sendable {
  /// 32 lower-case hex digits; part of the names of the lock and marker queues.
  package let storeID: String
  /// Key of the tokens' HMAC, 32 bytes; never leaves the process.
  package let secret: [UInt8]

  static func load(_ pool: DatabasePool, randomBytes: [UInt8]) throws -> StoreIdentity {
    precondition(randomBytes.count >= 48, "a new store needs 48 random bytes")
    return try pool.write { db in
      if let id = try String.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'store_id'"),
        let secret = try Data.fetchOne(db, sql: "SELECT value FROM meta WHERE key = 'secret'")
      {
        return StoreIdentity(storeID: id, secret: [UInt8](secret))
      }
      let id = randomBytes[..<16].map { byte in
        let hex = String(byte, radix: 16)
        return hex.count == 1 ? "0" + hex : hex
      }.joined()
      let secret = Array(randomBytes[16..<48])
      try db.execute(sql: "INSERT INTO meta (key, value) VALUES ('store_id', ?)", arguments: [id])
      try db.execute(sql: "INSERT INTO meta (key, value) VALUES ('secret', ?)", arguments: [Data(secret)])
      try db.execute(sql: "INSERT INTO meta (key, value) VALUES ('generation', 0)")
      return StoreIdentity(storeID: id, secret: secret)
    }
  }
}
