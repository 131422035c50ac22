import CRabbitMQ

extension FrameLoop {
  /// How many messages may go out now.
  var publishRoom: Int {
    guard isChannelOpen, !isBlocked, !isFlowStopped, confirmMode != .selecting else { return 0 }
    return ConnectionLine.window - confirms.count
  }

  /// Sends a group of messages.
  /// - Returns: whether any was taken, so that there may be more.
  func publish() throws(AMQPError) -> Bool {
    let room = min(publishRoom, Self.publishesPerTurn)
    guard room > 0, line.mailbox.hasPublishes, line.outcomes.count < ConnectionLine.outcomesBufferedMax else {
      return false
    }
    guard confirmMode == .on else {
      // Before anything else that waits: publishing should not stand behind other requests.
      confirmMode = .selecting
      commands.insert(Command(request: .selectConfirms, answer: Answer<Reply>()), at: 0)
      try startRequests()
      return false
    }
    let taken = line.mailbox.takePublishes(limit: room)
    var count = 0
    for publishes in taken { count += publishes.messages.count }
    try corked(count > 1) { () throws(AMQPError) in try send(taken) }
    return count > 0
  }

  private func send(_ taken: [Mailbox.Publishes]) throws(AMQPError) {
    var failure: AMQPError?
    for publishes in taken {
      for (id, message) in publishes.messages {
        let destination = publishes.result.map(PublishDestination.promise) ?? .outcomes(id: id)
        if let failure {
          // Taken, but behind the one that broke the connection.
          report(.unknown(failure), to: destination)
          continue
        }
        do throws(AMQPError) {
          try send(message, to: destination)
        } catch {
          failure = error
        }
      }
    }
    if let failure { throw failure }
  }

  private func send(_ message: AMQPMessage, to destination: PublishDestination) throws(AMQPError) {
    arena.reset()
    let encoder = WireEncoder(arena: arena)
    let exchange: amqp_bytes_t
    let routingKey: amqp_bytes_t
    var properties: amqp_basic_properties_t
    do throws(AMQPError) {
      exchange = try encoder.shortString(message.exchange, "the exchange name")
      routingKey = try encoder.shortString(message.routingKey, "the routing key")
      properties = try encoder.properties(message.properties, frameMax: handle.frameMax)
    } catch {
      return report(.refused(error), to: destination)
    }
    // Registered before it is sent: should the call fail half-way, its fate is unknown and not nothing.
    confirms.append(
      destination,
      identity: message.mandatory
        ? .init(
          exchange: message.exchange, routingKey: message.routingKey, messageID: message.properties.messageID,
          bodyBytes: message.body.count) : nil)
    guarded.touch()
    let status = message.body.withUnsafeBytes { body in
      amqp_basic_publish(
        handle.state, AMQPHandle.channel, exchange, routingKey, message.mandatory ? 1 : 0, 0, &properties,
        amqp_bytes_t(len: body.count, bytes: UnsafeMutableRawPointer(mutating: body.baseAddress)))
    }
    try checkSent(status, "publish")
    // The library announces more data behind a body that fills its last frame exactly, and the kernel would wait.
    if !message.body.isEmpty, message.body.count % (handle.frameMax - 8) == 0 { tb_cork(handle.descriptor, 0) }
  }

  func settlePublishes(tag: UInt64, multiple: Bool, as result: AMQPPublishResult) {
    confirms.settle(tag: tag, multiple: multiple, as: result) { destination, result in
      report(result, to: destination)
    }
  }

  func report(_ result: AMQPPublishResult, to destination: PublishDestination) {
    settledCount += 1
    switch destination {
    case .outcomes(let id): outcomes.append(AMQPPublishOutcome(id: id, result: result))
    case .promise(let promise): promise.fulfil(result)
    }
  }

  /// Nobody knows what became of these.
  func abandonPublishes(_ error: AMQPError) {
    for destination in confirms.removeAll() { report(.unknown(error), to: destination) }
  }
}
