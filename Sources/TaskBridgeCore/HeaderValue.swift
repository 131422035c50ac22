/// The value of a message header, whatever client sent it.
public indirect enum HeaderValue: Equatable, Sendable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(String)
  case bytes([UInt8])
  case timestamp(Timestamp)
  case array([HeaderValue])
  case table([String: HeaderValue])
}

/// A message on its way in, with what the bridge reads of its properties.
public struct SubmissionMessage: Equatable, Sendable {
  public var routingKey: String
  public var body: [UInt8]
  public var contentType: String?
  public var contentEncoding: String?
  public var messageID: String?
  public var headers: [String: HeaderValue]

  public init(
    routingKey: String, body: [UInt8], contentType: String? = nil, contentEncoding: String? = nil,
    messageID: String? = nil, headers: [String: HeaderValue] = [:]
  ) {
    self.routingKey = routingKey
    self.body = body
    self.contentType = contentType
    self.contentEncoding = contentEncoding
    self.messageID = messageID
    self.headers = headers
  }

  /// The text of `tb-run-id`: the message is a dead letter that was moved back, and replays that run.
  public var replayRunID: String? {
    guard let value = headers["tb-run-id"] else { return nil }
    return value.text ?? ""
  }
}

extension HeaderValue {
  /// A string, or bytes that are UTF-8: clients differ in what they send a text as.
  public var text: String? {
    switch self {
    case .string(let text): text
    case .bytes(let bytes): String(validating: bytes, as: UTF8.self)
    case .null, .bool, .int, .double, .timestamp, .array, .table: nil
    }
  }

  /// The same value in JSON; `nil` for bytes that are no text.
  public var jsonValue: JSONValue? {
    switch self {
    case .null: return .null
    case .bool(let value): return .bool(value)
    case .int(let value): return .number(JSONNumber(value))
    case .double(let value):
      // "5.0" and not "5": a double is not taken for an integer.
      guard value.isFinite else { return .string("\(value)") }
      let text = value.jsonText
      let isWhole = !text.utf8.contains { $0 == 46 || $0 == 101 }
      return .number(JSONNumber(checked: isWhole ? text + ".0" : text))
    case .string(let value): return .string(value)
    case .bytes: return text.map { .string($0) }
    case .timestamp(let value): return .string(value.description)
    case .array(let values):
      var elements: [JSONValue] = []
      for value in values {
        guard let element = value.jsonValue else { return nil }
        elements.append(element)
      }
      return .array(elements)
    case .table(let table):
      var members: [JSONObject.Member] = []
      for (key, value) in table.sorted(by: { $0.key < $1.key }) {
        guard let value = value.jsonValue else { return nil }
        members.append(JSONObject.Member(key: key, value: value))
      }
      return .object(JSONObject(members: members))
    }
  }
}

/// What makes a whole header table unusable: an empty key, nesting, size. `nil` when nothing does.
func headerFault(_ headers: [String: HeaderValue]) -> String? {
  // A list of what is left to look at and no recursion: the nesting is the attack.
  var open: [(value: HeaderValue, depth: Int)] = [(.table(headers), 0)]
  var size = 0
  while let (value, depth) = open.popLast() {
    size += 2
    switch value {
    case .null, .bool, .int, .double, .timestamp: size += 8
    case .string(let text): size += text.utf8.count
    case .bytes(let bytes): size += bytes.count
    case .array(let values):
      guard depth < SubmissionLimits.headerDepthMax else { return tooDeep }
      for value in values { open.append((value, depth + 1)) }
    case .table(let table):
      guard depth <= SubmissionLimits.headerDepthMax else { return tooDeep }
      for (key, value) in table {
        if key.isEmpty { return "a header has an empty name; give every header a name" }
        size += key.utf8.count
        open.append((value, depth + 1))
      }
    }
    if size > SubmissionLimits.headerBytesMax {
      return "the headers are larger than \(SubmissionLimits.headerBytesMax) bytes; put large data into the body"
    }
  }
  return nil
}

private let tooDeep = "the headers are nested deeper than \(SubmissionLimits.headerDepthMax) levels; use flat tables"
