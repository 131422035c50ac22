/// Names of a bridge's objects on the broker, as the contract has them.
struct BridgeNames: Sendable {
  let prefix: String

  var submit: String { "\(prefix).submit" }
  var events: String { "\(prefix).events" }

  func runQueue(_ task: String) -> String { "\(prefix).run.\(task)" }

  /// Eight hexadecimal digits, the same for the same text (FNV-1a).
  static func shortHash(_ text: String) -> String {
    var hash: UInt32 = 2_166_136_261
    for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
