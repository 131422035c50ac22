/// The properties of a message; `nil` means absent on the wire. Strings are at most 255 bytes of UTF-8.
public struct AMQPProperties: Sendable, Equatable {
  public var contentType: String?
  public var contentEncoding: String?
  public var headers: [String: AMQPValue]
  /// 1 transient, 2 persistent.
  public var deliveryMode: UInt8?
  public var priority: UInt8?
  public var correlationID: String?
  public var replyTo: String?
  /// Milliseconds, as a decimal string.
  public var expiration: String?
  public var messageID: String?
  /// Seconds since 1970.
  public var timestamp: UInt64?
  public var type: String?
  public var userID: String?
  public var appID: String?

  public init(
    contentType: String? = nil,
    contentEncoding: String? = nil,
    headers: [String: AMQPValue] = [:],
    deliveryMode: UInt8? = nil,
    priority: UInt8? = nil,
    correlationID: String? = nil,
    replyTo: String? = nil,
    expiration: String? = nil,
    messageID: String? = nil,
    timestamp: UInt64? = nil,
    type: String? = nil,
    userID: String? = nil,
    appID: String? = nil
  ) {
    self.contentType = contentType
    self.contentEncoding = contentEncoding
    self.headers = headers
    self.deliveryMode = deliveryMode
    self.priority = priority
    self.correlationID = correlationID
    self.replyTo = replyTo
    self.expiration = expiration
    self.messageID = messageID
    self.timestamp = timestamp
    self.type = type
    self.userID = userID
    self.appID = appID
  }
}

/// A message to publish.
public struct AMQPMessage: Sendable, Equatable {
  /// `""` is the default exchange, which routes to the queue named by `routingKey`.
  public var exchange: String
  public var routingKey: String
  /// With `true` a message that no queue takes comes back as `.returned`; with `false` the broker drops it and confirms.
  /// An answer to a direct reply-to address (`amq.rabbitmq.reply-to.…`) must have `false`: no queue takes it, so RabbitMQ
  /// returns it although it was delivered.
  public var mandatory: Bool
  public var properties: AMQPProperties
  public var body: [UInt8]

  public init(
    exchange: String = "", routingKey: String, mandatory: Bool = true, properties: AMQPProperties = .init(),
    body: [UInt8]
  ) {
    self.exchange = exchange
    self.routingKey = routingKey
    self.mandatory = mandatory
    self.properties = properties
    self.body = body
  }
}

/// A message that came from a queue.
public struct AMQPDelivery: Sendable, Equatable {
  /// A message that cannot be used as it is. It is still to be settled by its tag.
  public enum Problem: Sendable, Equatable {
    /// The body is larger than the connection accepts; `body` holds its first 64 KiB.
    case tooLarge(claimedBytes: UInt64)
    /// The headers break a rule; `headers` is empty.
    case malformedHeaders(reason: String)
  }

  /// Names the delivery towards `settle` and `reject`. Unique over the whole life of the connection, also when its
  /// channel was opened again, so that a late settlement can never hit another message. 0 when nothing is to be settled.
  public var deliveryTag: UInt64
  public var redelivered: Bool
  public var exchange: String
  public var routingKey: String
  public var properties: AMQPProperties
  public var body: [UInt8]
  public var problem: Problem?

  public init(
    deliveryTag: UInt64, redelivered: Bool = false, exchange: String = "", routingKey: String = "",
    properties: AMQPProperties = .init(), body: [UInt8] = [], problem: Problem? = nil
  ) {
    self.deliveryTag = deliveryTag
    self.redelivered = redelivered
    self.exchange = exchange
    self.routingKey = routingKey
    self.properties = properties
    self.body = body
    self.problem = problem
  }
}

/// What became of a published message.
public enum AMQPPublishResult: Sendable, Equatable {
  /// The broker has taken responsibility.
  case confirmed
  /// No queue took a mandatory message (`code` 312). The broker has dropped it.
  case returned(code: Int, text: String)
  /// The broker could not take it. Publish it again later.
  case nacked
  /// The connection or channel ended first: the message may or may not have arrived. Publish it again with the same id.
  case unknown(AMQPError)
  /// It breaks a limit of the protocol and was never sent. Publishing it again gives the same answer.
  case refused(AMQPError)
}

/// The result of one message, under the id its publisher gave it.
public struct AMQPPublishOutcome: Sendable, Equatable {
  public let id: UInt64
  public let result: AMQPPublishResult

  public init(id: UInt64, result: AMQPPublishResult) {
    self.id = id
    self.result = result
  }
}

/// What a broker knows of a queue.
public struct AMQPQueueInfo: Sendable, Equatable {
  public let name: String
  /// Messages ready for delivery; delivered but unsettled ones are not counted.
  public let messageCount: Int
  public let consumerCount: Int
}

/// A change in the life of a connection.
public enum AMQPConnectionState: Sendable, Equatable {
  /// The broker is short of memory or disk and takes no messages for now.
  case blocked(reason: String)
  case unblocked
  /// The channel was closed by the broker for this reason and opened again. Consumers have ended.
  case channelReopened(AMQPError)
  /// The last state. `nil` after an orderly `close()`.
  case closed(AMQPError?)
}
