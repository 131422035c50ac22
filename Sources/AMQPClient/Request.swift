/// Something the broker answers. The channel has one request under way at a time.
enum Request: Sendable, Equatable {
  case openChannel
  case selectConfirms
  case declareExchange(String, kind: AMQPExchangeKind, durable: Bool, passive: Bool, arguments: [String: AMQPValue])
  case declareQueue(
    String, durable: Bool, exclusive: Bool, autoDelete: Bool, passive: Bool, arguments: [String: AMQPValue])
  case bindQueue(String, exchange: String, routingKey: String, arguments: [String: AMQPValue])
  case unbindQueue(String, exchange: String, routingKey: String, arguments: [String: AMQPValue])
  case purgeQueue(String)
  case deleteQueue(String, ifUnused: Bool, ifEmpty: Bool)
  case deleteExchange(String, ifUnused: Bool)
  case get(String, acknowledge: Bool)
  /// Two steps on the wire: `basic.qos`, then `basic.consume`.
  case consume(String, prefetch: UInt16, consumerTag: String, noAck: Bool, exclusive: Bool)
  case cancelConsumer(String)

  /// For messages: what was being done to what.
  var summary: String {
    switch self {
    case .openChannel: "open a channel"
    case .selectConfirms: "switch on publisher confirms"
    case .declareExchange(let name, _, _, _, _): "declare exchange \"\(name)\""
    case .declareQueue(let name, _, _, _, _, _): "declare queue \"\(name)\""
    case .bindQueue(let name, let exchange, _, _): "bind queue \"\(name)\" to exchange \"\(exchange)\""
    case .unbindQueue(let name, let exchange, _, _): "unbind queue \"\(name)\" from exchange \"\(exchange)\""
    case .purgeQueue(let name): "purge queue \"\(name)\""
    case .deleteQueue(let name, _, _): "delete queue \"\(name)\""
    case .deleteExchange(let name, _): "delete exchange \"\(name)\""
    case .get(let name, _): "get from queue \"\(name)\""
    case .consume(let name, _, _, _, _): "consume from queue \"\(name)\""
    case .cancelConsumer(let tag): "cancel consumer \"\(tag)\""
    }
  }

  /// What to look at when no answer comes; begins with "; ", or is empty. RabbitMQ 3.10 leaves some quorum queues without a
  /// leader for good when it is killed soon after it declared or recovered them, and then answers none of these.
  var adviceAfterSilence: String {
    switch self {
    case .get(let name, _), .consume(let name, _, _, _, _):
      "; a quorum queue without a leader does not answer: look with \"rabbitmq-queues quorum_status \(name)\", and delete the queue when it will get none"
    // Who purges says what is to be done with the queue.
    case .openChannel, .selectConfirms, .declareExchange, .declareQueue, .bindQueue, .unbindQueue, .purgeQueue,
      .deleteQueue, .deleteExchange, .cancelConsumer:
      ""
    }
  }
}

/// What a request brought.
enum Reply: Sendable, Equatable {
  case done
  case queue(AMQPQueueInfo)
  case count(Int)
  case delivery(AMQPDelivery?)
  case consumer(tag: String)
}

/// The kinds of exchange every broker has.
public enum AMQPExchangeKind: String, Sendable, Equatable { case direct, fanout, topic, headers }

/// A request on its way to the connection's thread.
struct Command: Sendable {
  let request: Request
  let answer: Answer<Reply>
  /// Where the deliveries of a new consumer go.
  var deliveries: BatchBuffer<AMQPDelivery>?
}
