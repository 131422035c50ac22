/// Base64 with the standard alphabet (RFC 4648 §4).
public enum Base64 {
  /// The bytes of a text; padding may be missing, anything else that is not in the alphabet is refused with `nil`.
  public static func decode(_ text: some StringProtocol) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count / 4 * 3 + 3)
    var buffer: UInt32 = 0
    var bits = 0
    var digits = 0
    var padding = 0
    for character in text.utf8 {
      if character == UInt8(ascii: "=") {
        padding += 1
        continue
      }
      guard padding == 0, let digit = digit(character) else { return nil }
      digits += 1
      buffer = buffer << 6 | UInt32(digit)
      bits += 6
      if bits >= 8 {
        bits -= 8
        bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
      }
    }
    let isPaddingRight = padding == 0 || (padding <= 2 && (digits + padding) % 4 == 0)
    guard digits % 4 != 1, isPaddingRight, buffer & ((1 << UInt32(bits)) - 1) == 0 else { return nil }
    return bytes
  }

  /// The padded text of bytes.
  public static func text(_ bytes: some Collection<UInt8>) -> String {
    String(unsafeUninitializedCapacity: (bytes.count + 2) / 3 * 4) { text in
      var at = 0
      var buffer: UInt32 = 0
      var held = 0
      func flush(_ count: Int) {
        for position in 0..<4 {
          let digit = Int(buffer >> UInt32(18 - 6 * position)) & 63
          text[at] = position <= count ? alphabet[digit] : UInt8(ascii: "=")
          at += 1
        }
        buffer = 0
        held = 0
      }
      for byte in bytes {
        buffer |= UInt32(byte) << UInt32(16 - 8 * held)
        held += 1
        if held == 3 { flush(3) }
      }
      if held > 0 { flush(held) }
      return at
    }
  }

  private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  private static func digit(_ character: UInt8) -> UInt8? {
    switch character {
    case 65...90: character - 65
    case 97...122: character - 71
    case 48...57: character + 4
    case 43: 62
    case 47: 63
    default: nil
    }
  }
}
