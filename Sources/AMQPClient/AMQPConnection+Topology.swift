/// Requests that the broker answers. An error of the broker's (`channelClosed` with 403, 404, 405 or 406) costs the
/// channel: consumers of this connection end and messages in flight become `.unknown`, so use a connection of its own.
/// The connection stays usable. A request not answered in 10 s ends it.
extension AMQPConnection {
  /// - Parameter passive: only look whether it exists; throws 404 otherwise.
  public func declareExchange(
    _ name: String, kind: AMQPExchangeKind, durable: Bool = true, passive: Bool = false,
    arguments: [String: AMQPValue] = [:]
  ) async throws(AMQPError) {
    _ = try await request(
      .declareExchange(name, kind: kind, durable: durable, passive: passive, arguments: arguments))
  }

  /// - Parameters:
  ///   - name: `""` lets the broker make one up.
  ///   - passive: only look; throws 404 when it does not exist.
  /// - Throws: 406 when it exists with other properties or arguments; 405 when it is another connection's own.
  public func declareQueue(
    _ name: String, durable: Bool = true, exclusive: Bool = false, autoDelete: Bool = false, passive: Bool = false,
    arguments: [String: AMQPValue] = [:]
  ) async throws(AMQPError) -> AMQPQueueInfo {
    let reply = try await request(
      .declareQueue(
        name, durable: durable, exclusive: exclusive, autoDelete: autoDelete, passive: passive, arguments: arguments))
    guard case .queue(let info) = reply else { throw .mismatch }
    return info
  }

  public func bindQueue(
    _ queue: String, exchange: String, routingKey: String, arguments: [String: AMQPValue] = [:]
  ) async throws(AMQPError) {
    _ = try await request(.bindQueue(queue, exchange: exchange, routingKey: routingKey, arguments: arguments))
  }

  public func unbindQueue(
    _ queue: String, exchange: String, routingKey: String, arguments: [String: AMQPValue] = [:]
  ) async throws(AMQPError) {
    _ = try await request(.unbindQueue(queue, exchange: exchange, routingKey: routingKey, arguments: arguments))
  }

  /// Removes the ready messages of a queue.
  /// - Returns: how many.
  @discardableResult
  public func purgeQueue(_ name: String) async throws(AMQPError) -> Int {
    guard case .count(let count) = try await request(.purgeQueue(name)) else { throw .mismatch }
    return count
  }

  /// Deletes a queue; one that does not exist is fine.
  /// - Returns: how many messages it held.
  /// - Throws: 406 when it is in use or not empty and that was excluded.
  @discardableResult
  public func deleteQueue(
    _ name: String, ifUnused: Bool = false, ifEmpty: Bool = false
  ) async throws(AMQPError) -> Int {
    guard case .count(let count) = try await request(.deleteQueue(name, ifUnused: ifUnused, ifEmpty: ifEmpty)) else {
      throw .mismatch
    }
    return count
  }

  public func deleteExchange(_ name: String, ifUnused: Bool = false) async throws(AMQPError) {
    _ = try await request(.deleteExchange(name, ifUnused: ifUnused))
  }

  /// Fetches one message.
  /// - Parameter acknowledge: whether it is to be settled afterwards; `false` removes it at once.
  /// - Returns: `nil` when none is ready.
  public func get(_ queue: String, acknowledge: Bool) async throws(AMQPError) -> AMQPDelivery? {
    guard case .delivery(let delivery) = try await request(.get(queue, acknowledge: acknowledge)) else {
      throw .mismatch
    }
    return delivery
  }

  func request(
    _ request: Request, deliveries: BatchBuffer<AMQPDelivery>? = nil
  ) async throws(AMQPError) -> Reply {
    let answer = Answer<Reply>()
    try line.mailbox.send(Command(request: request, answer: answer, deliveries: deliveries))
    return try await answer.answer()
  }
}

extension AMQPError {
  static var mismatch: AMQPError {
    AMQPError(.protocolViolation, "the broker answered another request than the one that was sent")
  }
}
