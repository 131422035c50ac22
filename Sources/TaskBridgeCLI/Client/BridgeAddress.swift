import Foundation

/// `HOST:PORT` of an HTTP server: `127.0.0.1:8085`, `[::1]:8085`, `localhost:8085`.
struct BridgeAddress: Equatable, Sendable, CustomStringConvertible {
  /// Without brackets.
  var host: String
  /// 0...65,535; 0 lets the system choose.
  var port: Int

  init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Nil when the text is not `HOST:PORT` with a port of 0...65,535.
  init?(_ text: String) {
    guard let colon = text.lastIndex(of: ":") else { return nil }
    var host = text[..<colon]
    let digits = text[text.index(after: colon)...]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      return nil
    }
    guard !host.isEmpty, !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }), let port = Int(digits),
      (0...65_535).contains(port),
      host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || ".:-_".contains($0)) })
    else { return nil }
    self.host = String(host)
    self.port = port
  }

  var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
  var url: String { "http://\(self)" }

  /// Whether only this machine can reach it.
  var isLoopback: Bool { Self.isLoopback(host: host) }

  static func isLoopback(host: String) -> Bool {
    let name = host.lowercased()
    if name == "localhost" || name == "::1" || name == "0:0:0:0:0:0:0:1" { return true }
    let octets = name.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    return octets.count == 4 && octets.first == 127 && octets.allSatisfy { $0 != nil }
  }
}
