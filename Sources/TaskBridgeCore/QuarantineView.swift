/// A message that could not be understood or was not allowed, with its reason.
public struct QuarantineView: Sendable, Equatable, JSONWritable {
  /// Which page of which messages.
  public struct Query: Sendable, Equatable {
    public static let scope = "quarantine"
    static let names = ["kind", "source", "code", "body"]

    public var kind: Kind?
    public var source: Source?
    public var code: String?
    /// The stored bytes too, not only their beginning.
    public var includesBody = false
    public var limit = 50
    public var cursor: PageCursor?

    public init() {}

    /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
    public init(parameters: [Parameter]) throws(Problem) {
      var reader = ParameterReader(parameters)
      let page = PageRequest(&reader)
      kind = reader.word("kind", as: Kind.self)
      source = reader.word("source", as: Source.self)
      code = reader.text("code")
      includesBody = reader.bool("body") ?? false
      limit = page.limit
      try reader.finish(known: Self.names + PageRequest.names)
      cursor = try page.cursor(of: Self.scope)
    }
  }

  public enum Kind: String, Sendable, CaseIterable {
    /// Not readable or not allowed.
    case invalid
    /// A duplicate submission refused with nobody to answer to.
    case rejected
  }

  /// The queue it came from.
  public enum Source: String, Sendable, CaseIterable {
    case submit, events, returned
  }

  /// How much of the body a list shows, bytes.
  public static let previewBytesMax = 1_024

  public var id: Int64
  public var receivedAt: Timestamp
  public var source: Source
  public var kind: Kind
  public var code: String
  public var detail: String
  public var routingKey: String?
  /// JSON object.
  public var properties: String?
  /// Stored bytes: the beginning for a list, all of them where the body was asked for.
  public var body: [UInt8]
  public var isWhole: Bool
  /// Size of the message as it came.
  public var sizeBytes: Int

  public init(
    id: Int64, receivedAt: Timestamp, source: Source, kind: Kind, code: String, detail: String, routingKey: String?,
    properties: String?, body: [UInt8], isWhole: Bool, sizeBytes: Int
  ) {
    self.id = id
    self.receivedAt = receivedAt
    self.source = source
    self.kind = kind
    self.code = code
    self.detail = detail
    self.routingKey = routingKey
    self.properties = properties
    self.body = body
    self.isWhole = isWhole
    self.sizeBytes = sizeBytes
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("id", id)
      json.member("received_at", receivedAt)
      json.member("source", source.rawValue)
      json.member("kind", kind.rawValue)
      json.member("code", code)
      json.member("detail", detail)
      json.member("routing_key", routingKey)
      json.member("properties", raw: properties?.utf8)
      json.member("size_bytes", sizeBytes)
      let body = Self.hidingTokens(body)
      json.member("body_preview", String(decoding: body.prefix(Self.previewBytesMax), as: UTF8.self))
      if isWhole { json.member("body_base64", Base64.text(body)) }
    }
  }

  /// Hexadecimal digits at the end of a token: the part that makes it a permission.
  private static let tokenCodeDigits = 32

  /// The same bytes with stars for the codes of tokens: a worker may have written one into the body, and a token stands
  /// in no listing.
  static func hidingTokens(_ bytes: [UInt8]) -> [UInt8] {
    var shown = bytes
    var index = 1
    while index + tokenCodeDigits < bytes.count {
      let code = index + 1..<index + 1 + tokenCodeDigits
      if bytes[index] == UInt8(ascii: "."), isHexadecimal(bytes[index - 1]), bytes[code].allSatisfy(isHexadecimal) {
        for place in code { shown[place] = UInt8(ascii: "*") }
        index = code.upperBound
      } else {
        index += 1
      }
    }
    return shown
  }

  private static func isHexadecimal(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
  }
}
