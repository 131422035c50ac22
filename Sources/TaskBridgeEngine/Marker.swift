import AMQPClient
import TaskBridgeCore

/// What a bridge leaves on a broker to know it again: which store, which generation of it, which broker incarnation.
struct Marker: Equatable, Sendable {
  var storeID: String
  /// Counts the store's connections to a broker; one newer than the store's means that the store is a restored backup.
  var generation: Int
  /// Drawn when a broker is met for the first time; a broker that lost its disk has none.
  var incarnation: String

  var json: [UInt8] {
    var json = JSONWriter()
    json.object { json in
      json.member("store_id", storeID)
      json.member("generation", generation)
      json.member("incarnation", incarnation)
    }
    return json.bytes
  }

  init(storeID: String, generation: Int, incarnation: String) {
    self.storeID = storeID
    self.generation = generation
    self.incarnation = incarnation
  }

  init?(_ body: [UInt8]) {
    guard let value = try? JSONValue.parse(body), case .object(let object) = value,
      case .string(let storeID) = object["store_id"], case .number(let number) = object["generation"],
      let generation = number.int64, case .string(let incarnation) = object["incarnation"]
    else { return nil }
    self.init(storeID: storeID, generation: Int(generation), incarnation: incarnation)
  }
}

/// Reads and writes markers: queues of length 1.
struct MarkerQueue: Sendable {
  let connection: AMQPConnection
  let names: ObjectNames
  let storeID: String

  enum Finding: Equatable, Sendable {
    /// This store has never been on this broker, or the broker lost its data.
    case fresh
    case own(Marker)
    /// Another store works with this prefix here.
    case foreign(Marker)
  }

  /// - Parameter adopts: look past another owner: this store takes the broker over.
  func read(adopts: Bool) async throws(AMQPError) -> Finding {
    let owner = try await read(names.owner)
    if let owner, owner.storeID != storeID, !adopts { return .foreign(owner) }
    if let own = try await read(names.marker(storeID)), own.storeID == storeID { return .own(own) }
    if let owner, owner.storeID != storeID { return .foreign(owner) }
    return .fresh
  }

  private func read(_ queue: String) async throws(AMQPError) -> Marker? {
    do {
      _ = try await connection.declareQueue(queue, durable: true, passive: true)
    } catch {
      if error.code == AMQPError.notFound { return nil }
      throw error
    }
    guard let delivery = try await connection.get(queue, acknowledge: true) else { return nil }
    connection.reject(delivery.deliveryTag, requeue: true)
    return Marker(delivery.body)
  }

  /// Replaces the marker; the store's own generation has been committed before.
  func write(_ marker: Marker) async throws(AMQPError) {
    for queue in [names.marker(storeID), names.owner] {
      do {
        _ = try await connection.declareQueue(queue, durable: true, passive: true)
      } catch {
        guard error.code == AMQPError.notFound else { throw error }
        _ = try await connection.declareQueue(queue, durable: true, passive: false, arguments: ["x-max-length": 1])
      }
      let result = try await connection.publishAndConfirm(
        AMQPMessage(
          exchange: "", routingKey: queue, mandatory: true,
          properties: AMQPProperties(contentType: "application/json", deliveryMode: 2, type: "taskbridge.marker"),
          body: marker.json))
      guard case .confirmed = result else {
        throw AMQPError(.connectionLost, "the marker in \(queue) could not be written: \(result)")
      }
    }
  }
}
