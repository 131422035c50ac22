import CRabbitMQ
import Logging

extension FrameLoop {
  /// Buffered for a consumer that gets messages without acknowledgement, which no prefetch bounds.
  static let unacknowledgedBufferedMax = 16_384

  func deliver(_ delivery: AMQPDelivery, to consumer: ConsumerEntry?) throws(AMQPError) {
    guard let consumer else { return try send(ledger.reject(delivery.deliveryTag, requeue: true)) }
    consumer.batch.append(delivery)
  }

  /// Gives a consumer what has gathered.
  func flush(_ consumer: ConsumerEntry) {
    guard !consumer.batch.isEmpty else { return }
    consumer.deliveries.append(consumer.batch)
    consumer.batch = []
    guard !consumer.needsAcknowledgement, consumer.deliveries.count > Self.unacknowledgedBufferedMax else { return }
    consumer.deliveries.finish(
      AMQPError(
        .overflow,
        "more than \(Self.unacknowledgedBufferedMax) messages of queue \"\(consumer.queue)\" wait for their consumer"))
  }

  /// The broker has answered `basic.consume`.
  func consumerStarted(tag: String) throws(AMQPError) {
    guard let command = pending?.command, let deliveries = command.deliveries,
      case .consume(let queue, _, _, let noAck, _) = command.request
    else { throw AMQPError(.protocolViolation, "the broker started a consumer that nobody asked for") }
    consumers.append(
      ConsumerEntry(tag: tag, queue: queue, needsAcknowledgement: !noAck, deliveries: deliveries))
    guard !finishRequest(.success(.consumer(tag: tag))) else { return }
    // The task was cancelled meanwhile: nobody would ever read.
    commands.append(Command(request: .cancelConsumer(tag), answer: Answer<Reply>()))
  }

  /// The broker has ended a consumer by itself.
  func consumerCancelled(_ method: amqp_basic_cancel_t) throws(AMQPError) {
    let tag = WireDecoder.string(method.consumer_tag)
    let queue = consumers.first { $0.tag == tag }?.queue ?? ""
    endConsumer(
      tag: method.consumer_tag,
      AMQPError(
        .consumerCancelled, "the broker ended the consumer of queue \"\(queue)\": the queue was deleted or moved"))
    guard method.nowait == 0 else { return }
    var answer = amqp_basic_cancel_ok_t(consumer_tag: method.consumer_tag)
    try checkSent(
      amqp_send_method(handle.state, AMQPHandle.channel, AMQP_BASIC_CANCEL_OK_METHOD, &answer), "answer basic.cancel")
  }

  func endConsumer(tag: amqp_bytes_t, _ error: AMQPError?) {
    guard let index = consumers.firstIndex(where: { $0.hasTag(tag) }) else { return }
    let consumer = consumers.remove(at: index)
    consumer.deliveries.append(consumer.batch)
    consumer.deliveries.finish(error)
  }

  /// Sends what tasks have settled. Rejections go first: an acknowledgement with `multiple` would cover them.
  func settleDeliveries() throws(AMQPError) {
    let settlements = line.mailbox.takeSettlements()
    guard !settlements.isEmpty, isChannelOpen else { return }
    var actions = settlements.rejected.compactMap { ledger.reject($0.tag, requeue: $0.requeue) }
    actions += ledger.acknowledge(settlements.acknowledged)
    try corked(actions.count > 1) { () throws(AMQPError) in
      for action in actions { try send(action) }
    }
  }

  func send(_ action: DeliveryLedger.Action?) throws(AMQPError) {
    guarded.touch()
    switch action {
    case .none: break
    case .acknowledge(let tag, let multiple):
      try checkSent(amqp_basic_ack(handle.state, AMQPHandle.channel, tag, multiple ? 1 : 0), "acknowledge")
    case .reject(let tag, let requeue):
      try checkSent(amqp_basic_reject(handle.state, AMQPHandle.channel, tag, requeue ? 1 : 0), "reject a message")
    }
  }
}
