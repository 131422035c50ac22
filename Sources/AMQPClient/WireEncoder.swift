import CRabbitMQ

/// Turns our values into the library's, and checks every limit before the library is called.
///
/// The library notices an over-long string or header block only after the frame before it went out; the connection is
/// then broken for everybody. Hence: all checks first, in Swift.
struct WireEncoder {
  static let shortStringMax = 255
  /// Class, weight, body size, flags and the frame's own eight bytes.
  static let headerFrameOverhead = 20

  let arena: WireArena

  func shortString(_ text: String, _ what: String) throws(AMQPError) -> amqp_bytes_t {
    let count = text.utf8.count
    guard count <= Self.shortStringMax else {
      throw AMQPError(.invalidArgument, "\(what) is \(count) bytes, at most \(Self.shortStringMax)")
    }
    return arena.bytes(text)
  }

  /// - Parameter frameMax: the negotiated frame size in bytes.
  func properties(_ source: AMQPProperties, frameMax: Int) throws(AMQPError) -> amqp_basic_properties_t {
    var target = amqp_basic_properties_t()
    var flags: amqp_flags_t = 0
    var size = 0
    func text(
      _ value: String?, _ flag: Int32, _ what: String, _ field: inout amqp_bytes_t
    ) throws(AMQPError) {
      guard let value else { return }
      field = try shortString(value, what)
      flags |= amqp_flags_t(flag)
      size += 1 + field.len
    }
    try text(source.contentType, AMQP_BASIC_CONTENT_TYPE_FLAG, "content_type", &target.content_type)
    try text(source.contentEncoding, AMQP_BASIC_CONTENT_ENCODING_FLAG, "content_encoding", &target.content_encoding)
    if !source.headers.isEmpty {
      target.headers = try table(source.headers, depth: 1, size: &size)
      flags |= amqp_flags_t(AMQP_BASIC_HEADERS_FLAG)
    }
    if let value = source.deliveryMode {
      target.delivery_mode = value
      flags |= amqp_flags_t(AMQP_BASIC_DELIVERY_MODE_FLAG)
      size += 1
    }
    if let value = source.priority {
      target.priority = value
      flags |= amqp_flags_t(AMQP_BASIC_PRIORITY_FLAG)
      size += 1
    }
    try text(source.correlationID, AMQP_BASIC_CORRELATION_ID_FLAG, "correlation_id", &target.correlation_id)
    try text(source.replyTo, AMQP_BASIC_REPLY_TO_FLAG, "reply_to", &target.reply_to)
    try text(source.expiration, AMQP_BASIC_EXPIRATION_FLAG, "expiration", &target.expiration)
    try text(source.messageID, AMQP_BASIC_MESSAGE_ID_FLAG, "message_id", &target.message_id)
    if let value = source.timestamp {
      target.timestamp = value
      flags |= amqp_flags_t(AMQP_BASIC_TIMESTAMP_FLAG)
      size += 8
    }
    try text(source.type, AMQP_BASIC_TYPE_FLAG, "type", &target.type)
    try text(source.userID, AMQP_BASIC_USER_ID_FLAG, "user_id", &target.user_id)
    try text(source.appID, AMQP_BASIC_APP_ID_FLAG, "app_id", &target.app_id)
    let limit = frameMax - Self.headerFrameOverhead - 2
    guard size <= limit else {
      throw AMQPError(.invalidArgument, "the properties and headers take \(size) bytes, at most \(limit)")
    }
    target._flags = flags
    return target
  }

  /// Arguments of a declare, a bind or a consume.
  func arguments(_ source: [String: AMQPValue], frameMax: Int) throws(AMQPError) -> amqp_table_t {
    guard !source.isEmpty else { return amqp_empty_table }
    var size = 0
    let result = try table(source, depth: 1, size: &size)
    // The names beside the arguments take at most four short strings.
    let limit = frameMax - 2048
    guard size <= limit else {
      throw AMQPError(.invalidArgument, "the arguments take \(size) bytes, at most \(limit)")
    }
    return result
  }

  private func table(
    _ source: [String: AMQPValue], depth: Int, size: inout Int
  ) throws(AMQPError) -> amqp_table_t {
    try check(depth: depth)
    let entries = arena.array(of: amqp_table_entry_t.self, count: source.count)
    size += 4
    var index = 0
    for (key, value) in source {
      guard !key.isEmpty else { throw AMQPError(.invalidArgument, "a header has an empty name") }
      var entry = amqp_table_entry_t()
      entry.key = try shortString(key, "the header name \"\(key.prefix(32))…\"")
      size += 1 + entry.key.len
      entry.value = try field(value, depth: depth, size: &size)
      entries.advanced(by: index).initialize(to: entry)
      index += 1
    }
    return amqp_table_t(num_entries: Int32(source.count), entries: entries)
  }

  private func array(_ source: [AMQPValue], depth: Int, size: inout Int) throws(AMQPError) -> amqp_array_t {
    try check(depth: depth)
    let entries = arena.array(of: amqp_field_value_t.self, count: source.count)
    size += 4
    for (index, value) in source.enumerated() {
      entries.advanced(by: index).initialize(to: try field(value, depth: depth, size: &size))
    }
    return amqp_array_t(num_entries: Int32(source.count), entries: entries)
  }

  private func field(_ source: AMQPValue, depth: Int, size: inout Int) throws(AMQPError) -> amqp_field_value_t {
    var target = amqp_field_value_t()
    size += 1
    switch source {
    case .null: tb_set_void(&target)
    case .bool(let flag):
      tb_set_bool(&target, flag ? 1 : 0)
      size += 1
    case .int(let number):
      tb_set_i64(&target, number)
      size += 8
    case .uint(let number):
      guard let signed = Int64(exactly: number) else {
        throw AMQPError(.invalidArgument, "the header value \(number) is above \(Int64.max), the largest integer")
      }
      tb_set_i64(&target, signed)
      size += 8
    case .double(let number):
      tb_set_double(&target, number)
      size += 8
    case .timestamp(let seconds):
      tb_set_timestamp(&target, seconds)
      size += 8
    case .string(let text):
      tb_set_string(&target, arena.bytes(text))
      size += 4 + text.utf8.count
    case .bytes(let bytes):
      tb_set_bytes(&target, arena.bytes(bytes))
      size += 4 + bytes.count
    case .array(let values): tb_set_array(&target, try array(values, depth: depth + 1, size: &size))
    case .table(let entries): tb_set_table(&target, try table(entries, depth: depth + 1, size: &size))
    }
    return target
  }

  private func check(depth: Int) throws(AMQPError) {
    guard depth <= AMQPValue.depthMax else {
      throw AMQPError(.invalidArgument, "header tables are nested deeper than \(AMQPValue.depthMax)")
    }
  }
}
