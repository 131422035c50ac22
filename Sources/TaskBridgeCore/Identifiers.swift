/// The id of a run: a UUID, made as version 7, so that ids sort by the time of submission.
public struct RunID: Hashable, Comparable, Sendable {
  public let high: UInt64
  public let low: UInt64

  @inlinable
  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// Reads any UUID text of the form 8-4-4-4-12, in either case; `nil` for anything else.
  @inlinable
  public init?(_ text: some StringProtocol) { self.init(utf8: text.utf8) }

  /// The same from the text's UTF-8.
  @inlinable
  public init?(utf8 text: some Sequence<UInt8>) {
    var words: (UInt64, UInt64) = (0, 0)
    var position = 0
    for byte in text {
      if position == 8 || position == 13 || position == 18 || position == 23 {
        guard byte == UInt8(ascii: "-") else { return nil }
      } else {
        guard position < 36, let digit = hexDigit(byte) else { return nil }
        if position < 18 {
          words.0 = words.0 << 4 | UInt64(digit)
        } else {
          words.1 = words.1 << 4 | UInt64(digit)
        }
      }
      position += 1
    }
    guard position == 36 else { return nil }
    self.init(high: words.0, low: words.1)
  }

  /// Reads 16 bytes, most significant first; `nil` for any other number of bytes.
  @inlinable
  public init?(bytes: some Collection<UInt8>) {
    guard bytes.count == 16 else { return nil }
    let high = bytes.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    let low = bytes.dropFirst(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    self.init(high: high, low: low)
  }

  /// The 16 bytes, most significant first.
  public var bytes: [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 16) { buffer, count in
      for index in 0..<8 {
        buffer[index] = UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * index))
        buffer[index + 8] = UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * index))
      }
      count = 16
    }
  }

  /// When the id was made, from its first 48 bits; without meaning for an id that is no version 7.
  public var createdAt: Timestamp { Timestamp(milliseconds: Int64(high >> 16)) }

  public static func < (left: RunID, right: RunID) -> Bool {
    left.high != right.high ? left.high < right.high : left.low < right.low
  }
}

extension RunID: CustomStringConvertible {
  /// The UUID in lower case.
  public var description: String {
    String(unsafeUninitializedCapacity: 36) { buffer in
      var at = 0
      for nibble in 0..<32 {
        if nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20 {
          buffer[at] = UInt8(ascii: "-")
          at += 1
        }
        let word = nibble < 16 ? high : low
        let digit = UInt8(truncatingIfNeeded: word >> UInt64(60 - 4 * (nibble % 16))) & 0xF
        buffer[at] = hexCharacter(digit)
        at += 1
      }
      return at
    }
  }
}

/// Makes UUIDv7 run ids that strictly increase, within a millisecond and when the clock steps back too.
///
/// Within a millisecond the 74 random bits are counted up by a random step: ids stay hard to guess, and the counter
/// can't run over in practice; if it does, the id's time moves on by a millisecond.
public struct RunIDGenerator: Sendable {
  private var milliseconds: UInt64 = 0
  private var upper: UInt64 = 0
  private var lower: UInt64 = 0

  public init() {}

  /// Goes on after the newest id of a store, so that ids increase over a restart with a clock that was set back.
  public init(after last: RunID) {
    milliseconds = last.high >> 16
    upper = last.high & Self.upperMask
    lower = last.low & Self.lowerMask
  }

  /// - Parameter now: what the id shows as its time, unless an earlier call had a later one.
  public mutating func next(now: Timestamp, random: inout some RandomNumberGenerator) -> RunID {
    let time = UInt64(clamping: now.milliseconds) & 0xFFFF_FFFF_FFFF
    if time > milliseconds {
      start(at: time, random: &random)
    } else {
      lower += UInt64.random(in: 1...(1 << 40), using: &random)
      if lower > Self.lowerMask {
        lower &= Self.lowerMask
        upper += 1
        if upper > Self.upperMask { start(at: milliseconds + 1, random: &random) }
      }
    }
    return RunID(high: milliseconds << 16 | 0x7000 | upper, low: 0x8000_0000_0000_0000 | lower)
  }

  private static let upperMask: UInt64 = 0xFFF
  private static let lowerMask: UInt64 = 0x3FFF_FFFF_FFFF_FFFF

  private mutating func start(at time: UInt64, random: inout some RandomNumberGenerator) {
    milliseconds = time
    // The top bit stays 0: room for the ids that follow in the same millisecond.
    upper = UInt64.random(in: 0...(Self.upperMask >> 1), using: &random)
    lower = UInt64.random(in: 0...Self.lowerMask, using: &random)
  }
}

/// What kind of work a run is, such as `media.thumbnail`; also the name of its queue.
public struct TaskKey: Hashable, Comparable, Sendable, CustomStringConvertible {
  public let rawValue: String

  /// The rule, for error texts.
  public static let grammar = "^[a-z0-9](?:[a-z0-9._-]{0,118}[a-z0-9])?$"

  /// `nil` when the text does not match ``grammar``: 1 to 120 of `a-z 0-9 . _ -`, a letter or digit at both ends.
  @inlinable
  public init?(_ text: some StringProtocol) {
    var count = 0
    var last: UInt8 = 0
    for byte in text.utf8 {
      let isAlphanumeric = (byte >= 97 && byte <= 122) || (byte >= 48 && byte <= 57)
      if !isAlphanumeric {
        guard count > 0, byte == 46 || byte == 95 || byte == 45 else { return nil }
      }
      count += 1
      guard count <= 120 else { return nil }
      last = byte
    }
    guard count > 0, last != 46, last != 95, last != 45 else { return nil }
    rawValue = String(text)
  }

  /// A place holder while a submission is being read, never handed out.
  init(unread: Void) { rawValue = "" }

  /// The part before the first `.`, the whole key when there is none.
  public var domain: Substring { rawValue.prefix { $0 != "." } }

  public var description: String { rawValue }

  public static func < (left: TaskKey, right: TaskKey) -> Bool { left.rawValue < right.rawValue }
}

/// The value of a hexadecimal digit in either case.
@usableFromInline
func hexDigit(_ byte: UInt8) -> UInt8? {
  switch byte {
  case 48...57: byte - 48
  case 97...102: byte - 87
  case 65...70: byte - 55
  default: nil
  }
}

/// The lower-case hexadecimal digit of 0...15.
package func hexCharacter(_ value: UInt8) -> UInt8 { value < 10 ? 48 + value : 87 + value }
