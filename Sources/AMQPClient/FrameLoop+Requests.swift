import CRabbitMQ
import Logging

extension FrameLoop {
  /// Sends the next request when none is under way.
  func startRequests() throws(AMQPError) {
    commands.append(contentsOf: line.mailbox.takeCommands())
    while pending == nil, !commands.isEmpty {
      let isInternal: Bool
      switch commands[0].request {
      case .openChannel, .selectConfirms: isInternal = true
      default: isInternal = false
      }
      guard isChannelOpen || commands[0].request == .openChannel else { return }
      let command = commands.removeFirst()
      // Cancelled while it waited: then it is not sent at all.
      if !isInternal, command.answer.fulfilled != nil { continue }
      pending = Pending(
        command: command, deadline: MonotonicClock.now(plus: timeouts.request), isInternal: isInternal)
      try sendPending()
    }
  }

  /// Ends the request under way.
  /// - Returns: whether somebody still waited for it.
  @discardableResult
  func finishRequest(_ result: Result<Reply, AMQPError>) -> Bool {
    defer { pending = nil }
    return pending?.command.answer.fulfil(result) ?? false
  }

  private func sendPending() throws(AMQPError) {
    guard let command = pending?.command else { return }
    arena.reset()
    let status: Int32
    do throws(AMQPError) {
      status = try send(command.request)
    } catch {
      // Found by our own checks: nothing was sent and the channel is as it was.
      finishRequest(.failure(error))
      return
    }
    try checkSent(status, command.request.summary)
  }

  /// After `basic.qos` comes what it was for.
  func sendSecondStep() throws(AMQPError) {
    guard let pending, !pending.isSecondStep,
      case .consume(let queue, _, let tag, let noAck, let exclusive) = pending.command.request
    else { throw AMQPError(.protocolViolation, "the broker answered a basic.qos that was not sent") }
    self.pending?.isSecondStep = true
    arena.reset()
    let encoder = WireEncoder(arena: arena)
    let status: Int32
    do throws(AMQPError) {
      var method = amqp_basic_consume_t()
      method.queue = try encoder.shortString(queue, "the queue name")
      method.consumer_tag = try encoder.shortString(tag, "the consumer tag")
      method.no_ack = noAck ? 1 : 0
      method.exclusive = exclusive ? 1 : 0
      status = sendMethod(AMQP_BASIC_CONSUME_METHOD, &method)
    } catch {
      finishRequest(.failure(error))
      return
    }
    try checkSent(status, pending.command.request.summary)
  }

  private func sendMethod<Method: BitwiseCopyable>(_ id: amqp_method_number_t, _ method: inout Method) -> Int32 {
    guarded.touch()
    return withUnsafeMutableBytes(of: &method) {
      amqp_send_method(handle.state, AMQPHandle.channel, id, $0.baseAddress)
    }
  }

  /// - Throws: what our own checks find.
  private func send(_ request: Request) throws(AMQPError) -> Int32 {
    let encoder = WireEncoder(arena: arena)
    func name(_ text: String) throws(AMQPError) -> amqp_bytes_t { try encoder.shortString(text, "the name") }
    func table(_ entries: [String: AMQPValue]) throws(AMQPError) -> amqp_table_t {
      try encoder.arguments(entries, frameMax: handle.frameMax)
    }
    switch request {
    case .openChannel:
      var method = amqp_channel_open_t()
      return sendMethod(AMQP_CHANNEL_OPEN_METHOD, &method)
    case .selectConfirms:
      var method = amqp_confirm_select_t()
      return sendMethod(AMQP_CONFIRM_SELECT_METHOD, &method)
    case .declareExchange(let exchange, let kind, let durable, let passive, let arguments):
      var method = amqp_exchange_declare_t()
      method.exchange = try name(exchange)
      method.type = arena.bytes(kind.rawValue)
      method.durable = durable ? 1 : 0
      method.passive = passive ? 1 : 0
      method.arguments = try table(arguments)
      return sendMethod(AMQP_EXCHANGE_DECLARE_METHOD, &method)
    case .declareQueue(let queue, let durable, let exclusive, let autoDelete, let passive, let arguments):
      var method = amqp_queue_declare_t()
      method.queue = try name(queue)
      method.durable = durable ? 1 : 0
      method.exclusive = exclusive ? 1 : 0
      method.auto_delete = autoDelete ? 1 : 0
      method.passive = passive ? 1 : 0
      method.arguments = try table(arguments)
      return sendMethod(AMQP_QUEUE_DECLARE_METHOD, &method)
    case .bindQueue(let queue, let exchange, let routingKey, let arguments):
      var method = amqp_queue_bind_t()
      method.queue = try name(queue)
      method.exchange = try name(exchange)
      method.routing_key = try encoder.shortString(routingKey, "the routing key")
      method.arguments = try table(arguments)
      return sendMethod(AMQP_QUEUE_BIND_METHOD, &method)
    case .unbindQueue(let queue, let exchange, let routingKey, let arguments):
      var method = amqp_queue_unbind_t()
      method.queue = try name(queue)
      method.exchange = try name(exchange)
      method.routing_key = try encoder.shortString(routingKey, "the routing key")
      method.arguments = try table(arguments)
      return sendMethod(AMQP_QUEUE_UNBIND_METHOD, &method)
    case .purgeQueue(let queue):
      var method = amqp_queue_purge_t()
      method.queue = try name(queue)
      return sendMethod(AMQP_QUEUE_PURGE_METHOD, &method)
    case .deleteQueue(let queue, let ifUnused, let ifEmpty):
      var method = amqp_queue_delete_t()
      method.queue = try name(queue)
      method.if_unused = ifUnused ? 1 : 0
      method.if_empty = ifEmpty ? 1 : 0
      return sendMethod(AMQP_QUEUE_DELETE_METHOD, &method)
    case .deleteExchange(let exchange, let ifUnused):
      var method = amqp_exchange_delete_t()
      method.exchange = try name(exchange)
      method.if_unused = ifUnused ? 1 : 0
      return sendMethod(AMQP_EXCHANGE_DELETE_METHOD, &method)
    case .get(let queue, let acknowledge):
      var method = amqp_basic_get_t()
      method.queue = try name(queue)
      method.no_ack = acknowledge ? 0 : 1
      return sendMethod(AMQP_BASIC_GET_METHOD, &method)
    case .consume(_, let prefetch, _, _, _):
      // Per consumer, not per channel: each keeps its own bound.
      var method = amqp_basic_qos_t()
      method.prefetch_count = prefetch
      return sendMethod(AMQP_BASIC_QOS_METHOD, &method)
    case .cancelConsumer(let tag):
      var method = amqp_basic_cancel_t()
      method.consumer_tag = try encoder.shortString(tag, "the consumer tag")
      return sendMethod(AMQP_BASIC_CANCEL_METHOD, &method)
    }
  }
}

extension FrameLoop.Pending {
  /// Whether this method answers the request.
  func awaits(_ id: amqp_method_number_t) -> Bool {
    switch command.request {
    case .openChannel: id == AMQP_CHANNEL_OPEN_OK_METHOD
    case .selectConfirms: id == AMQP_CONFIRM_SELECT_OK_METHOD
    case .declareExchange: id == AMQP_EXCHANGE_DECLARE_OK_METHOD
    case .declareQueue: id == AMQP_QUEUE_DECLARE_OK_METHOD
    case .bindQueue: id == AMQP_QUEUE_BIND_OK_METHOD
    case .unbindQueue: id == AMQP_QUEUE_UNBIND_OK_METHOD
    case .purgeQueue: id == AMQP_QUEUE_PURGE_OK_METHOD
    case .deleteQueue: id == AMQP_QUEUE_DELETE_OK_METHOD
    case .deleteExchange: id == AMQP_EXCHANGE_DELETE_OK_METHOD
    case .get: id == AMQP_BASIC_GET_EMPTY_METHOD
    case .consume: id == (isSecondStep ? AMQP_BASIC_CONSUME_OK_METHOD : AMQP_BASIC_QOS_OK_METHOD)
    case .cancelConsumer: id == AMQP_BASIC_CANCEL_OK_METHOD
    }
  }
}
