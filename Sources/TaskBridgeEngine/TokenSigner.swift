import Crypto
import TaskBridgeCore

/// Makes and checks tokens: `<run id>.<attempt>.<dispatch>.<HMAC>`, derived under the store's secret and never stored,
/// so that the same dispatch can be published again after a crash (`contract.md` §1).
struct TokenSigner: Sendable {
  /// Longest token anybody can send.
  static let bytesMax = 200
  private let key: SymmetricKey

  init(secret: [UInt8]) { key = SymmetricKey(data: secret) }

  func token(for dispatch: DispatchID) -> String {
    let text = dispatch.description
    return text + "." + signature(of: text)
  }

  /// What `token` speaks for; nil when it was not issued under this secret.
  func verify(_ token: String) -> DispatchID? {
    guard token.utf8.count <= Self.bytesMax, let dot = token.lastIndex(of: ".") else { return nil }
    let text = String(token[..<dot])
    let given = token[token.index(after: dot)...].utf8
    let expected = signature(of: text).utf8
    guard given.count == expected.count else { return nil }
    // In constant time: how far a guess was right must not show.
    guard zip(given, expected).reduce(UInt8(0), { $0 | ($1.0 ^ $1.1) }) == 0 else { return nil }
    return DispatchID(messageID: text)
  }

  /// 128 bits of HMAC-SHA-256, hexadecimal.
  private func signature(of text: String) -> String {
    let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key)
    return code.prefix(16).hexadecimal
  }
}

extension DispatchID {
  /// From `<run id>.<attempt>.<dispatch>`.
  init?(messageID: String) {
    let parts = messageID.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 3, let id = RunID(parts[0]), let attempt = Int(parts[1]), let dispatch = Int(parts[2]),
      attempt > 0, dispatch > 0
    else { return nil }
    self.init(runID: id, attempt: attempt, dispatch: dispatch)
  }
}

extension Sequence<UInt8> {
  var hexadecimal: String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in self {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }
}

/// `dedup_key: "$payload"` means this digest of the canonical payload.
func payloadDigest(_ payload: [UInt8]) -> String {
  "sha256:" + SHA256.hash(data: canonicalPayload(payload)).hexadecimal
}
