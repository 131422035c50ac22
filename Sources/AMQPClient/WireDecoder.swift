import CRabbitMQ

/// Copies what the library decoded into our values. Nothing here keeps a pointer: the library frees its memory after
/// each batch of frames.
enum WireDecoder {
  /// Why a header table cannot be used.
  struct Malformed: Error, Equatable {
    let reason: String
  }

  static func string(_ bytes: amqp_bytes_t) -> String {
    guard bytes.len > 0, let base = bytes.bytes else { return "" }
    return String(decoding: UnsafeRawBufferPointer(start: base, count: bytes.len), as: UTF8.self)
  }

  static func array(_ bytes: amqp_bytes_t) -> [UInt8] {
    guard bytes.len > 0, let base = bytes.bytes else { return [] }
    return [UInt8](UnsafeRawBufferPointer(start: base, count: bytes.len))
  }

  /// - Returns: the properties, and why their headers were left out if they were.
  static func properties(_ source: UnsafePointer<amqp_basic_properties_t>) -> (AMQPProperties, Malformed?) {
    let flags = source.pointee._flags
    var target = AMQPProperties()
    var malformed: Malformed?
    func has(_ flag: Int32) -> Bool { flags & amqp_flags_t(flag) != 0 }
    if has(AMQP_BASIC_CONTENT_TYPE_FLAG) { target.contentType = string(source.pointee.content_type) }
    if has(AMQP_BASIC_CONTENT_ENCODING_FLAG) { target.contentEncoding = string(source.pointee.content_encoding) }
    if has(AMQP_BASIC_HEADERS_FLAG) {
      do throws(Malformed) {
        target.headers = try table(source.pointee.headers, depth: 1)
      } catch {
        malformed = error
      }
    }
    if has(AMQP_BASIC_DELIVERY_MODE_FLAG) { target.deliveryMode = source.pointee.delivery_mode }
    if has(AMQP_BASIC_PRIORITY_FLAG) { target.priority = source.pointee.priority }
    if has(AMQP_BASIC_CORRELATION_ID_FLAG) { target.correlationID = string(source.pointee.correlation_id) }
    if has(AMQP_BASIC_REPLY_TO_FLAG) { target.replyTo = string(source.pointee.reply_to) }
    if has(AMQP_BASIC_EXPIRATION_FLAG) { target.expiration = string(source.pointee.expiration) }
    if has(AMQP_BASIC_MESSAGE_ID_FLAG) { target.messageID = string(source.pointee.message_id) }
    if has(AMQP_BASIC_TIMESTAMP_FLAG) { target.timestamp = source.pointee.timestamp }
    if has(AMQP_BASIC_TYPE_FLAG) { target.type = string(source.pointee.type) }
    if has(AMQP_BASIC_USER_ID_FLAG) { target.userID = string(source.pointee.user_id) }
    if has(AMQP_BASIC_APP_ID_FLAG) { target.appID = string(source.pointee.app_id) }
    return (target, malformed)
  }

  /// The message id alone, for a message that came back.
  static func messageID(_ source: UnsafePointer<amqp_basic_properties_t>) -> String? {
    source.pointee._flags & amqp_flags_t(AMQP_BASIC_MESSAGE_ID_FLAG) == 0 ? nil : string(source.pointee.message_id)
  }

  /// - Parameter depth: of this table, 1 for the outermost. The cap keeps recursion short whatever a sender nests.
  static func table(_ source: amqp_table_t, depth: Int) throws(Malformed) -> [String: AMQPValue] {
    guard depth <= AMQPValue.depthMax else {
      throw Malformed(reason: "header tables are nested deeper than \(AMQPValue.depthMax)")
    }
    guard source.num_entries > 0, let entries = source.entries else { return [:] }
    var target: [String: AMQPValue] = [:]
    target.reserveCapacity(Int(source.num_entries))
    for index in 0..<Int(source.num_entries) {
      let entry = entries + index
      guard entry.pointee.key.len > 0 else { throw Malformed(reason: "a header has an empty name") }
      target[string(entry.pointee.key)] = try withUnsafePointer(to: &entry.pointee.value) { value throws(Malformed) in
        try field(value, depth: depth)
      }
    }
    return target
  }

  private static func array(_ source: amqp_array_t, depth: Int) throws(Malformed) -> [AMQPValue] {
    guard depth <= AMQPValue.depthMax else {
      throw Malformed(reason: "header tables are nested deeper than \(AMQPValue.depthMax)")
    }
    guard source.num_entries > 0, let entries = source.entries else { return [] }
    var target: [AMQPValue] = []
    target.reserveCapacity(Int(source.num_entries))
    for index in 0..<Int(source.num_entries) { target.append(try field(entries + index, depth: depth)) }
    return target
  }

  private static func field(
    _ source: UnsafePointer<amqp_field_value_t>, depth: Int
  ) throws(Malformed) -> AMQPValue {
    let kind = source.pointee.kind
    switch UInt32(kind) {
    case AMQP_FIELD_KIND_BOOLEAN.rawValue: return .bool(tb_value_bool(source) != 0)
    case AMQP_FIELD_KIND_I8.rawValue, AMQP_FIELD_KIND_U8.rawValue, AMQP_FIELD_KIND_I16.rawValue,
      AMQP_FIELD_KIND_U16.rawValue, AMQP_FIELD_KIND_I32.rawValue, AMQP_FIELD_KIND_U32.rawValue,
      AMQP_FIELD_KIND_I64.rawValue:
      return .int(tb_value_int(source))
    case AMQP_FIELD_KIND_U64.rawValue:
      let number = tb_value_u64(source)
      return Int64(exactly: number).map(AMQPValue.int) ?? .uint(number)
    case AMQP_FIELD_KIND_F32.rawValue: return .double(tb_value_float(source))
    case AMQP_FIELD_KIND_F64.rawValue: return .double(tb_value_double(source))
    case AMQP_FIELD_KIND_DECIMAL.rawValue:
      let decimal = tb_value_decimal(source)
      var divisor = 1.0
      for _ in 0..<decimal.decimals { divisor *= 10 }
      return .double(Double(Int32(bitPattern: decimal.value)) / divisor)
    case AMQP_FIELD_KIND_UTF8.rawValue:
      let bytes = tb_value_bytes(source)
      guard bytes.len > 0, let base = bytes.bytes else { return .string("") }
      let raw = UnsafeRawBufferPointer(start: base, count: bytes.len)
      // The protocol calls it a string of octets, so it need not be text.
      return String(validating: raw, as: UTF8.self).map(AMQPValue.string) ?? .bytes([UInt8](raw))
    case AMQP_FIELD_KIND_BYTES.rawValue: return .bytes(array(tb_value_bytes(source)))
    case AMQP_FIELD_KIND_TIMESTAMP.rawValue: return .timestamp(tb_value_u64(source))
    case AMQP_FIELD_KIND_ARRAY.rawValue: return .array(try array(tb_value_array(source), depth: depth + 1))
    case AMQP_FIELD_KIND_TABLE.rawValue: return .table(try table(tb_value_table(source), depth: depth + 1))
    case AMQP_FIELD_KIND_VOID.rawValue: return .null
    default: throw Malformed(reason: "a header has the unknown type \(kind)")
    }
  }
}
