extension AMQPConfiguration {
  /// Reads `amqp://user:password@host1:5672,host2/vhost?heartbeat=10`, or `amqps://` for TLS.
  ///
  /// User, password and virtual host are percent-decoded; user and password default to `guest`, the port to 5672 (5671
  /// with TLS), and no path or an empty one means the virtual host `/`. Options: `heartbeat` (seconds, 1 to 600),
  /// `connection_timeout` (milliseconds, 1 to 600000), `connection_name`, `auth_mechanism` (`plain`, `external`); with
  /// `amqps` also `cacertfile`, `certfile`, `keyfile`, `password` (of the key) and `verify` (`verify_peer`,
  /// `verify_none`).
  /// - Throws: `.invalidConfiguration`. The text names the part that is wrong and never shows a password.
  public init(url: String) throws(AMQPError) {
    var rest = Substring(url)
    var tls: TLS?
    if let afterScheme = rest.droppingPrefix("amqp://") {
      rest = afterScheme
    } else if let afterScheme = rest.droppingPrefix("amqps://") {
      rest = afterScheme
      tls = TLS()
    } else {
      throw .url("it must begin with amqp:// or amqps://")
    }
    guard !rest.contains("#") else { throw .url("a # must be written as %23") }

    let beforeQuery = rest.prefix { $0 != "?" }
    let query = rest.dropFirst(beforeQuery.count + 1)
    let authority = beforeQuery.prefix { $0 != "/" }
    let path = beforeQuery.dropFirst(authority.count)
    // Otherwise the front half of such a password would be taken for a port and end up in a message.
    guard !path.contains("@") else { throw .url("a / in the user or password must be written as %2F") }
    guard !query.contains("@") || authority.contains("@") else {
      throw .url("a ? in the user or password must be written as %3F")
    }

    let (credentials, hosts) = authority.splitAtLast("@")
    self.init(
      endpoints: try parseEndpoints(
        hosts, defaultPort: tls == nil ? 5672 : 5671, mayQuote: credentials != nil))
    if let credentials {
      let (user, password) = credentials.splitAtFirst(":")
      self.user = try decoded(user, "the user", limit: nil)
      if let password { self.password = try decoded(password, "the password", limit: nil) }
    }
    let vhost = path.dropFirst()
    guard !vhost.contains("/") else { throw .url("a / in the virtual host must be written as %2F") }
    if !vhost.isEmpty { self.vhost = try decoded(vhost, "the virtual host", limit: 255) }
    self.tls = tls
    try apply(query: query)
  }

  private mutating func apply(query: Substring) throws(AMQPError) {
    var seen: Set<String> = []
    for item in query.split(separator: "&") {
      let (rawName, rawValue) = item.splitAtFirst("=")
      let name = try decoded(rawName, "the name of an option", limit: 64)
      guard let rawValue else { throw .url("the option \"\(name)\" has no value") }
      let value = try decoded(rawValue, "the option \"\(name)\"", limit: nil)
      guard seen.insert(name).inserted else { throw .url("the option \"\(name)\" is given twice") }
      try apply(option: name, value)
    }
    guard let tls else { return }
    guard (tls.certificateFile == nil) == (tls.keyFile == nil) else {
      throw .url("certfile and keyfile go together: one of them is missing")
    }
  }

  private mutating func apply(option name: String, _ value: String) throws(AMQPError) {
    switch name {
    case "heartbeat":
      heartbeatSeconds = try number(value, name, in: 1...600)
    case "connection_timeout":
      timeouts.connect = .milliseconds(try number(value, name, in: 1...600_000))
    case "connection_name":
      guard value.utf8.count <= 255 else { throw .url("connection_name is \(value.utf8.count) bytes, at most 255") }
      connectionName = value
    case "auth_mechanism":
      switch value.lowercased() {
      case "plain": mechanism = .plain
      case "external": mechanism = .external
      default: throw .url("auth_mechanism must be plain or external, not \"\(value)\"")
      }
    case "cacertfile": try withTLS(name) { $0.certificateAuthorityFile = value }
    case "certfile": try withTLS(name) { $0.certificateFile = value }
    case "keyfile": try withTLS(name) { $0.keyFile = value }
    case "password": try withTLS(name) { $0.keyPassphrase = value }
    case "verify":
      guard value == "verify_peer" || value == "verify_none" else {
        throw .url("verify must be verify_peer or verify_none, not \"\(value)\"")
      }
      try withTLS(name) { $0.verifyPeer = value == "verify_peer" }
    default:
      throw .url(
        "unknown option \"\(name)\"; known are heartbeat, connection_timeout, connection_name, auth_mechanism, "
          + "cacertfile, certfile, keyfile, password, verify")
    }
  }

  private mutating func withTLS(_ option: String, _ change: (inout TLS) -> Void) throws(AMQPError) {
    guard var settings = tls else { throw .url("the option \"\(option)\" needs amqps://") }
    change(&settings)
    tls = settings
  }
}

private func parseEndpoints(
  _ hosts: Substring, defaultPort: Int, mayQuote: Bool
) throws(AMQPError) -> [AMQPConfiguration.Endpoint] {
  guard !hosts.isEmpty else { throw .url("it has no host") }
  var endpoints: [AMQPConfiguration.Endpoint] = []
  for item in hosts.split(separator: ",", omittingEmptySubsequences: false) {
    var name: Substring
    var portText: Substring?
    if item.first == "[" {
      guard let end = item.firstIndex(of: "]") else { throw .url("an IPv6 address lacks its closing ]") }
      name = item[item.index(after: item.startIndex)..<end]
      let tail = item[item.index(after: end)...]
      guard tail.isEmpty || tail.first == ":" else { throw .url("after ] only :port may follow") }
      portText = tail.isEmpty ? nil : tail.dropFirst()
      guard name.utf8.allSatisfy({ isHexDigit($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") }) else {
        throw .url("what stands between [ and ] is not an IPv6 address")
      }
    } else {
      (name, portText) = item.splitAtFirst(":")
      guard name.utf8.allSatisfy({ isHostByte($0) }) else {
        throw .url("a host name has a character that is not a letter, digit, dot, hyphen or underscore")
      }
    }
    guard !name.isEmpty else { throw .url("it has an empty host") }
    guard name.utf8.count <= 253 else { throw .url("a host name is \(name.utf8.count) bytes, at most 253") }
    var port = defaultPort
    if let portText {
      // Without user info, what looks like a port may be a password whose host was forgotten: it is not repeated.
      let shown = mayQuote ? " \"\(portText)\"" : ""
      guard !portText.isEmpty, portText.utf8.allSatisfy({ isDigit($0) }), let number = Int(portText),
        (1...65535).contains(number)
      else { throw .url("the port\(shown) of host \"\(name)\" is not a number from 1 to 65535") }
      port = number
    }
    endpoints.append(.init(host: String(name), port: port))
  }
  return endpoints
}

/// Percent-decodes. NUL is refused everywhere: the library takes C strings and would cut the rest off.
private func decoded(_ text: Substring, _ part: String, limit: Int?) throws(AMQPError) -> String {
  var bytes: [UInt8] = []
  var iterator = text.utf8.makeIterator()
  while let byte = iterator.next() {
    guard byte == UInt8(ascii: "%") else {
      bytes.append(byte)
      continue
    }
    guard let high = iterator.next().flatMap(hexDigit), let low = iterator.next().flatMap(hexDigit) else {
      throw .url("\(part) has a % without two hex digits after it; a % itself is written as %25")
    }
    bytes.append(high << 4 | low)
  }
  guard let result = String(validating: bytes, as: UTF8.self) else { throw .url("\(part) is not UTF-8") }
  guard !bytes.contains(0) else { throw .url("\(part) has a NUL character") }
  if let limit, bytes.count > limit { throw .url("\(part) is \(bytes.count) bytes, at most \(limit)") }
  return result
}

private func number(_ text: String, _ option: String, in range: ClosedRange<Int>) throws(AMQPError) -> Int {
  guard !text.isEmpty, text.utf8.allSatisfy({ isDigit($0) }), let value = Int(text), range.contains(value) else {
    throw .url("\(option) must be a number from \(range.lowerBound) to \(range.upperBound), not \"\(text)\"")
  }
  return value
}

private func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
private func isHexDigit(_ byte: UInt8) -> Bool { hexDigit(byte) != nil }
private func hexDigit(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
  default: nil
  }
}
private func isHostByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
  case UInt8(ascii: "0")...UInt8(ascii: "9"): true
  case UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"): true
  default: false
  }
}

extension Substring {
  fileprivate func droppingPrefix(_ prefix: String) -> Substring? {
    hasPrefix(prefix) ? dropFirst(prefix.count) : nil
  }
  fileprivate func splitAtFirst(_ separator: Character) -> (Substring, Substring?) {
    guard let index = firstIndex(of: separator) else { return (self, nil) }
    return (self[..<index], self[self.index(after: index)...])
  }
  fileprivate func splitAtLast(_ separator: Character) -> (Substring?, Substring) {
    guard let index = lastIndex(of: separator) else { return (nil, self) }
    return (self[..<index], self[self.index(after: index)...])
  }
}

extension AMQPError {
  fileprivate static func url(_ problem: String) -> AMQPError {
    AMQPError(.invalidConfiguration, "the AMQP URL is not valid: \(problem)")
  }
}
