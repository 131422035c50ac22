import TaskBridgeCore

/// The path and query of a request, decoded; an absolute target's host is never looked at.
struct RequestTarget {
  /// Path segments, percent-decoded; empty for `/`.
  var segments: [String]
  /// The undecoded text after `?`.
  var query: Substring

  /// - Throws: 400 `invalid_target`.
  init(_ text: String) throws(Problem) {
    var target = text[...]
    if !target.utf8.starts(with: "/".utf8), let scheme = target.firstRange(of: "://") {
      let rest = target[scheme.upperBound...]
      target = rest.firstIndex(of: "/").map { rest[$0...] } ?? "/"
    }
    let path = target.prefix { $0 != "?" }
    query = target.dropFirst(path.count + 1)
    segments = []
    guard path != "/" else { return }
    for segment in path.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      guard let decoded = Self.decoded(segment, plusIsSpace: false), !decoded.utf8.contains(0) else {
        throw Problem(
          400, "invalid_target", "the path holds an escape that is no UTF-8 text or a NUL: \(segment.prefix(64))")
      }
      segments.append(decoded)
    }
  }

  /// The query's parameters, in order.
  /// - Throws: 400 `invalid_target`.
  static func parameters(_ query: Substring) throws(Problem) -> [Parameter] {
    guard !query.isEmpty else { return [] }
    var parameters: [Parameter] = []
    for pair in query.split(separator: "&") {
      let name = pair.prefix { $0 != "=" }
      guard let name = decoded(name, plusIsSpace: true),
        let value = decoded(pair.dropFirst(name.isEmpty ? 1 : pair.prefix { $0 != "=" }.count + 1), plusIsSpace: true)
      else {
        throw Problem(400, "invalid_target", "the query holds an escape that is no UTF-8 text: \(pair.prefix(64))")
      }
      parameters.append(Parameter(query: name, value))
    }
    return parameters
  }

  private static func decoded(_ text: Substring, plusIsSpace: Bool) -> String? {
    let utf8 = text.utf8
    guard utf8.contains(where: { $0 == UInt8(ascii: "%") || plusIsSpace && $0 == UInt8(ascii: "+") }) else {
      return String(text)
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(utf8.count)
    var iterator = utf8.makeIterator()
    while let byte = iterator.next() {
      switch byte {
      case UInt8(ascii: "%"):
        guard let high = iterator.next().flatMap(digit), let low = iterator.next().flatMap(digit) else { return nil }
        bytes.append(high << 4 | low)
      case UInt8(ascii: "+") where plusIsSpace: bytes.append(UInt8(ascii: " "))
      default: bytes.append(byte)
      }
    }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
