import Crypto
package import TaskBridgeCore

/// Makes and checks tokens: `<run id>.<attempt>.<dispatch>.<HMAC>`, derived under the store's secret and never stored,
/// so that the same dispatch can be published again after a crash (`contract.md` §1).
package struct TokenSigner: Sendable {
  /// Longest token anybody can send.
  static let bytesMax = 200
  /// Bytes of the HMAC in a token; it stands there in hexadecimal.
  private static let codeBytes = 16
  /// The state with the secret taken in: a token costs no more than its own text.
  private let keyed: HMAC<SHA256>

  package init(secret: [UInt8]) { keyed = HMAC<SHA256>(key: SymmetricKey(data: secret)) }

  func token(for dispatch: DispatchID) -> String {
    var text = dispatch.description
    let code = text.withUTF8 { bytes -> HMAC<SHA256>.MAC in self.code(of: bytes) }
    text.append(".")
    code.withUnsafeBytes { text += $0.prefix(Self.codeBytes).hexadecimal }
    return text
  }

  /// What `token` speaks for; nil when it was not issued under this secret.
  package func verify(_ token: String) -> DispatchID? {
    var token = token
    return token.withUTF8 { bytes -> DispatchID? in
      let textCount = bytes.count - 2 * Self.codeBytes - 1
      guard bytes.count <= Self.bytesMax, textCount > 0, bytes[textCount] == UInt8(ascii: ".") else { return nil }
      let text = UnsafeBufferPointer(rebasing: bytes[..<textCount])
      // In constant time: how far a guess was right must not show.
      var difference: UInt8 = 0
      code(of: text).withUnsafeBytes { code in
        for index in 0..<Self.codeBytes {
          difference |= bytes[textCount + 1 + 2 * index] ^ hexCharacter(code[index] >> 4)
          difference |= bytes[textCount + 2 + 2 * index] ^ hexCharacter(code[index] & 15)
        }
      }
      return difference == 0 ? DispatchID(messageID: text) : nil
    }
  }

  private func code(of text: UnsafeBufferPointer<UInt8>) -> HMAC<SHA256>.MAC {
    var hmac = keyed
    hmac.update(data: UnsafeRawBufferPointer(text))
    return hmac.finalize()
  }
}

extension DispatchID {
  /// From `<run id>.<attempt>.<dispatch>`.
  init?(messageID text: some Collection<UInt8>) {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3, let id = RunID(utf8: parts[0]), let attempt = Self.number(parts[1]),
      let dispatch = Self.number(parts[2])
    else { return nil }
    self.init(runID: id, attempt: attempt, dispatch: dispatch)
  }

  /// A positive decimal number.
  private static func number(_ digits: some Collection<UInt8>) -> Int? {
    guard (1...9).contains(digits.count) else { return nil }
    var number = 0
    for digit in digits {
      guard digit >= UInt8(ascii: "0"), digit <= UInt8(ascii: "9") else { return nil }
      number = number * 10 + Int(digit - UInt8(ascii: "0"))
    }
    return number > 0 ? number : nil
  }
}

extension Sequence<UInt8> {
  var hexadecimal: String {
    var text: [UInt8] = []
    for byte in self {
      text.append(hexCharacter(byte >> 4))
      text.append(hexCharacter(byte & 15))
    }
    return String(decoding: text, as: UTF8.self)
  }
}

/// `dedup_key: "$payload"` means this: the SHA-256 of the canonical payload, 64 hexadecimal digits.
func payloadDigest(_ payload: [UInt8]) -> String {
  SHA256.hash(data: canonicalPayload(payload)).hexadecimal
}
