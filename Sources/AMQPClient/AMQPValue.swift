/// A value in a header table or in the arguments of a queue.
///
/// Every integer of the protocol is read as `.int` (`.uint` only above `Int64.max`), single floats and decimals as
/// `.double`. Integers are written as signed 64 bit, which pika, the Java, Go and .NET clients read as an integer.
public indirect enum AMQPValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int64)
  /// Written as a signed integer; above `Int64.max` it is refused, because RabbitMQ closes a connection that sends one.
  case uint(UInt64)
  case double(Double)
  case string(String)
  case bytes([UInt8])
  /// Seconds since 1970.
  case timestamp(UInt64)
  case array([AMQPValue])
  case table([String: AMQPValue])

  /// Tables and arrays nested deeper than this are neither read nor written.
  public static let depthMax = 16
}

extension AMQPValue {
  /// The text of a `.string`, or of `.bytes` that are UTF-8: some clients send text as bytes.
  public var stringValue: String? {
    switch self {
    case .string(let text): text
    case .bytes(let bytes): String(validating: bytes, as: UTF8.self)
    case .null, .bool, .int, .uint, .double, .timestamp, .array, .table: nil
    }
  }

  /// The number of an `.int`, or of a `.uint` that fits.
  public var intValue: Int64? {
    switch self {
    case .int(let number): number
    case .uint(let number): Int64(exactly: number)
    case .null, .bool, .double, .string, .bytes, .timestamp, .array, .table: nil
    }
  }
}

extension AMQPValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
  public init(stringLiteral value: String) { self = .string(value) }
  public init(integerLiteral value: Int64) { self = .int(value) }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
}
