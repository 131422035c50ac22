import CRabbitMQ
import Logging

extension FrameLoop {
  /// Handles the frame that was just read.
  func dispatch() throws(AMQPError) {
    switch Int32(frame.frame_type) {
    case AMQP_FRAME_METHOD:
      if frame.channel == 0 {
        try dispatchConnectionMethod(tb_frame_method(&frame))
      } else if frame.channel == AMQPHandle.channel {
        guard assembly == nil else { throw violation("a method in the middle of a message") }
        try dispatchChannelMethod(tb_frame_method(&frame))
      } else {
        throw violation("a frame on channel \(frame.channel), which is not open")
      }
    case AMQP_FRAME_HEADER:
      guard frame.channel == AMQPHandle.channel, assembly != nil else { throw violation("a header without a method") }
      try assembly?.addHeader(&frame, bodyBytesMax: bodyBytesMax)
      try finishAssembly()
    case AMQP_FRAME_BODY:
      guard frame.channel == AMQPHandle.channel, assembly != nil else { throw violation("a body without a header") }
      let body = tb_frame_body(&frame)
      bytesSinceRelease += body.len
      try assembly?.addBody(body)
      try finishAssembly()
    default:
      throw violation("a frame of type \(frame.frame_type)")
    }
  }

  private func violation(_ what: String) -> AMQPError {
    AMQPError(.protocolViolation, "the broker sent \(what)")
  }

  private func decoded<Method>(_: Method.Type) throws(AMQPError) -> Method {
    guard let pointer = tb_frame_decoded(&frame) else { throw violation("an empty method") }
    return pointer.assumingMemoryBound(to: Method.self).pointee
  }

  // MARK: Channel 0

  private func dispatchConnectionMethod(_ id: amqp_method_number_t) throws(AMQPError) {
    switch id {
    case AMQP_CONNECTION_CLOSE_METHOD:
      let close = try decoded(amqp_connection_close_t.self)
      let error = AMQPError(
        .connectionClosed, code: Int(close.reply_code),
        "the broker closed the connection: \(WireDecoder.string(close.reply_text))")
      var answer = amqp_connection_close_ok_t()
      _ = amqp_send_method(handle.state, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &answer)
      throw error
    case AMQP_CONNECTION_BLOCKED_METHOD:
      let reason = WireDecoder.string(try decoded(amqp_connection_blocked_t.self).reason)
      isBlocked = true
      line.mailbox.setBlocked(true)
      line.stateContinuation.yield(.blocked(reason: reason))
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      isBlocked = false
      pending?.deadline = MonotonicClock.now(plus: timeouts.request)
      line.mailbox.setBlocked(false)
      line.stateContinuation.yield(.unblocked)
    default:
      throw violation("method \(hexadecimal(id)) on channel 0")
    }
  }

  // MARK: Channel 1

  private func dispatchChannelMethod(_ id: amqp_method_number_t) throws(AMQPError) {
    switch id {
    case AMQP_BASIC_ACK_METHOD:
      let ack = try decoded(amqp_basic_ack_t.self)
      settlePublishes(tag: ack.delivery_tag, multiple: ack.multiple != 0, as: .confirmed)
    case AMQP_BASIC_NACK_METHOD:
      let nack = try decoded(amqp_basic_nack_t.self)
      settlePublishes(tag: nack.delivery_tag, multiple: nack.multiple != 0, as: .nacked)
    case AMQP_BASIC_DELIVER_METHOD:
      try beginDelivery(try decoded(amqp_basic_deliver_t.self))
    case AMQP_BASIC_RETURN_METHOD:
      let method = try decoded(amqp_basic_return_t.self)
      assembly = ContentAssembly(
        .returned(
          code: Int(method.reply_code), text: WireDecoder.string(method.reply_text),
          exchange: WireDecoder.string(method.exchange), routingKey: WireDecoder.string(method.routing_key)))
    case AMQP_BASIC_GET_OK_METHOD:
      try beginGet(try decoded(amqp_basic_get_ok_t.self))
    case AMQP_BASIC_CANCEL_METHOD:
      try consumerCancelled(try decoded(amqp_basic_cancel_t.self))
    case AMQP_CHANNEL_CLOSE_METHOD:
      try channelClosed(try decoded(amqp_channel_close_t.self))
    case AMQP_CHANNEL_FLOW_METHOD:
      let flow = try decoded(amqp_channel_flow_t.self)
      isFlowStopped = flow.active == 0
      var answer = amqp_channel_flow_ok_t(active: flow.active)
      try checkSent(
        amqp_send_method(handle.state, AMQPHandle.channel, AMQP_CHANNEL_FLOW_OK_METHOD, &answer), "answer channel.flow")
    default:
      try dispatchReply(id)
    }
  }

  /// Answers to requests.
  private func dispatchReply(_ id: amqp_method_number_t) throws(AMQPError) {
    guard let pending, pending.awaits(id) else {
      throw violation("method \(hexadecimal(id)), which nobody asked for")
    }
    switch id {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
      isChannelOpen = true
      finishRequest(.success(.done))
    case AMQP_CONFIRM_SELECT_OK_METHOD:
      confirmMode = .on
      finishRequest(.success(.done))
    case AMQP_EXCHANGE_DECLARE_OK_METHOD, AMQP_EXCHANGE_DELETE_OK_METHOD, AMQP_QUEUE_BIND_OK_METHOD,
      AMQP_QUEUE_UNBIND_OK_METHOD:
      finishRequest(.success(.done))
    case AMQP_QUEUE_DECLARE_OK_METHOD:
      let answer = try decoded(amqp_queue_declare_ok_t.self)
      let info = AMQPQueueInfo(
        name: WireDecoder.string(answer.queue), messageCount: Int(answer.message_count),
        consumerCount: Int(answer.consumer_count))
      finishRequest(.success(.queue(info)))
    case AMQP_QUEUE_PURGE_OK_METHOD:
      finishRequest(.success(.count(Int(try decoded(amqp_queue_purge_ok_t.self).message_count))))
    case AMQP_QUEUE_DELETE_OK_METHOD:
      finishRequest(.success(.count(Int(try decoded(amqp_queue_delete_ok_t.self).message_count))))
    case AMQP_BASIC_GET_EMPTY_METHOD:
      finishRequest(.success(.delivery(nil)))
    case AMQP_BASIC_QOS_OK_METHOD:
      try sendSecondStep()
    case AMQP_BASIC_CONSUME_OK_METHOD:
      try consumerStarted(tag: WireDecoder.string(try decoded(amqp_basic_consume_ok_t.self).consumer_tag))
    case AMQP_BASIC_CANCEL_OK_METHOD:
      endConsumer(tag: try decoded(amqp_basic_cancel_ok_t.self).consumer_tag, nil)
      finishRequest(.success(.done))
    default:
      throw violation("method \(hexadecimal(id)), which nobody asked for")
    }
  }

  private func hexadecimal(_ id: amqp_method_number_t) -> String { "0x" + String(id, radix: 16) }

  // MARK: Content

  private func beginDelivery(_ method: amqp_basic_deliver_t) throws(AMQPError) {
    let consumer = consumers.first { $0.hasTag(method.consumer_tag) }
    // An unknown consumer was cancelled a moment ago; it could have asked for acknowledgement, so that is assumed.
    var publicTag: UInt64 = 0
    if consumer?.needsAcknowledgement ?? true {
      guard let tag = ledger.delivered(tag: method.delivery_tag) else {
        throw violation("a delivery with tag \(method.delivery_tag), which is out of order")
      }
      publicTag = tag
    }
    assembly = ContentAssembly(
      .delivery(
        consumer: consumer, publicTag: publicTag, redelivered: method.redelivered != 0,
        exchange: lastExchange.string(method.exchange), routingKey: lastRoutingKey.string(method.routing_key)))
  }

  private func beginGet(_ method: amqp_basic_get_ok_t) throws(AMQPError) {
    guard let pending, case .get(_, let acknowledge) = pending.command.request else {
      throw violation("a message that nobody asked for")
    }
    var publicTag: UInt64 = 0
    if acknowledge {
      guard let tag = ledger.delivered(tag: method.delivery_tag) else {
        throw violation("a message with tag \(method.delivery_tag), which is out of order")
      }
      publicTag = tag
    }
    assembly = ContentAssembly(
      .got(
        publicTag: publicTag, redelivered: method.redelivered != 0, exchange: WireDecoder.string(method.exchange),
        routingKey: WireDecoder.string(method.routing_key)))
  }

  private func finishAssembly() throws(AMQPError) {
    guard let content = assembly, content.isComplete else { return }
    assembly = nil
    switch content.purpose {
    case .delivery(let consumer, let tag, let redelivered, let exchange, let routingKey):
      let delivery = AMQPDelivery(
        deliveryTag: tag, redelivered: redelivered, exchange: exchange, routingKey: routingKey,
        properties: content.properties, body: content.body, problem: content.problem)
      try deliver(delivery, to: consumer)
    case .got(let tag, let redelivered, let exchange, let routingKey):
      let delivery = AMQPDelivery(
        deliveryTag: tag, redelivered: redelivered, exchange: exchange, routingKey: routingKey,
        properties: content.properties, body: content.body, problem: content.problem)
      // When nobody waits for it any more the message must not stay unsettled.
      if !finishRequest(.success(.delivery(delivery))), tag != 0 { try send(ledger.reject(tag, requeue: true)) }
    case .returned(let code, let text, let exchange, let routingKey):
      let identity = ConfirmWindow<PublishDestination>.Identity(
        exchange: exchange, routingKey: routingKey, messageID: content.properties.messageID,
        bodyBytes: Int(clamping: content.claimedBytes))
      if !confirms.markReturned(identity, as: .returned(code: code, text: text)) {
        logger.warning(
          "a message came back that is not in flight",
          metadata: ["exchange": "\(exchange)", "routing_key": "\(routingKey)", "code": "\(code)"])
      }
    }
  }
}
