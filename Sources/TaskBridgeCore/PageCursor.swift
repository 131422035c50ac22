/// The position after the last item of a page: its sort key. It holds no rows and no secret, stays valid while rows are
/// added, and carries a checksum over the list it belongs to, so that made-up ones are refused.
public struct PageCursor: Sendable, Equatable {
  public enum Part: Sendable, Hashable {
    case null
    case integer(Int64)
    case text(String)
  }

  public var parts: [Part]

  public init(_ parts: [Part]) { self.parts = parts }

  /// One part of the kind most lists need.
  public init(_ number: Int64) { self.init([.integer(number)]) }

  public var integer: Int64? { if parts.count == 1, case .integer(let value) = parts[0] { value } else { nil } }

  /// The opaque text for `scope`, the list it belongs to.
  public func text(scope: String) -> String {
    var bytes: [UInt8] = []
    for part in parts {
      switch part {
      case .null: bytes.append(0)
      case .integer(let value):
        bytes.append(1)
        Self.append(UInt64(bitPattern: value), to: &bytes)
      case .text(let text):
        let utf8 = Array(text.utf8)
        bytes.append(2)
        Self.append(UInt64(utf8.count), to: &bytes)
        bytes += utf8
      }
    }
    Self.append(Self.checksum(bytes, scope), to: &bytes)
    return Self.hex(bytes)
  }

  /// Nil when the text was not made by ``text(scope:)`` for the same scope.
  public init?(text: String, scope: String) {
    guard let bytes = Self.bytes(hex: text), bytes.count >= 8 else { return nil }
    let content = Array(bytes.dropLast(8))
    guard Self.number(bytes[(bytes.count - 8)...]) == Self.checksum(content, scope) else { return nil }
    var parts: [Part] = []
    var rest = content[...]
    while let kind = rest.popFirst() {
      switch kind {
      case 0: parts.append(.null)
      case 1:
        guard rest.count >= 8 else { return nil }
        parts.append(.integer(Int64(bitPattern: Self.number(rest.prefix(8)))))
        rest = rest.dropFirst(8)
      case 2:
        guard rest.count >= 8, let count = Int(exactly: Self.number(rest.prefix(8))), count <= rest.count - 8 else {
          return nil
        }
        parts.append(.text(String(decoding: rest.dropFirst(8).prefix(count), as: UTF8.self)))
        rest = rest.dropFirst(8 + count)
      default: return nil
      }
    }
    self.parts = parts
  }

  private static func append(_ value: UInt64, to bytes: inout [UInt8]) {
    for shift in stride(from: 56, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(shift)))
    }
  }

  private static func number(_ bytes: some Sequence<UInt8>) -> UInt64 {
    bytes.reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// FNV-1a, 64 bits: against mistakes, not against an attacker, who could ask for the same rows without a cursor.
  private static func checksum(_ bytes: [UInt8], _ scope: String) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    for byte in scope.utf8 { mix(byte) }
    mix(0xff)
    for byte in bytes { mix(byte) }
    return hash
  }

  private static let digits = Array("0123456789abcdef".utf8)

  private static func hex(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }

  private static func bytes(hex text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count % 2 == 0, characters.count <= 4_096 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(characters.count / 2)
    for index in stride(from: 0, to: characters.count, by: 2) {
      guard let high = digits.firstIndex(of: characters[index]), let low = digits.firstIndex(of: characters[index + 1])
      else { return nil }
      bytes.append(UInt8(high << 4 | low))
    }
    return bytes
  }
}
