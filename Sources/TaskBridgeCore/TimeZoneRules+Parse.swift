/// Why bytes are no time zone that TaskBridge can use.
public struct TimeZoneDataError: Error, Equatable, Sendable {
  /// What is wrong with the bytes, for people.
  public var reason: String

  init(_ reason: String) { self.reason = reason }
}

extension TimeZoneRules {
  /// The most bytes a time zone file may have; the largest one of the IANA database has about 4 KiB.
  public static let bytesMax = 256 << 10

  /// Reads a compiled time zone file (TZif, RFC 8536 and 9636), version 2 or later.
  ///
  /// Its last line, a rule in the form of POSIX `TZ`, holds for all time after its table.
  /// - Parameters:
  ///   - name: the IANA name it was found under.
  ///   - bytes: at most ``bytesMax``.
  /// - Throws: when the bytes are no such file, are damaged, or count leap seconds (the files under `right/`).
  public init(name: String, tzif bytes: [UInt8]) throws(TimeZoneDataError) {
    guard bytes.count <= Self.bytesMax else {
      throw TimeZoneDataError("\(bytes.count) bytes are too many; at most \(Self.bytesMax) are read")
    }
    var reader = ByteReader(bytes)
    let old = try TZifHeader(&reader)
    guard old.version >= 2 else { throw TimeZoneDataError("it is a TZif file of version 1, whose times end in 2038") }
    // The first block has 32-bit times, for readers of version 1.
    try reader.skip(old.blockBytes(timeBytes: 4))
    let header = try TZifHeader(&reader)
    guard header.leapCount == 0 else {
      throw TimeZoneDataError("it counts leap seconds; use the same name without right/")
    }

    var times: [Int] = []
    for _ in 0..<header.timeCount { times.append(try reader.integer(bytes: 8)) }
    var kinds: [Int] = []
    for _ in 0..<header.timeCount { kinds.append(try reader.unsigned(bytes: 1)) }
    var offsets: [Int] = []
    for _ in 0..<header.typeCount {
      let offset = try reader.integer(bytes: 4)
      guard offset.magnitude < 100_000 else { throw TimeZoneDataError("an offset of \(offset) seconds is too large") }
      offsets.append(offset)
      // Daylight flag and abbreviation: of no use to a clock.
      try reader.skip(2)
    }
    try reader.skip(header.abbreviationBytes + header.standardCount + header.universalCount)

    guard zip(times, times.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw TimeZoneDataError("its changes are not in order of time")
    }
    guard kinds.allSatisfy(offsets.indices.contains) else { throw TimeZoneDataError("it names an offset it lacks") }
    // Some files begin with a change in the far past that stands for the beginning of time.
    let early = times.prefix { $0 <= -(1 << 50) }.count
    let changes = zip(times, kinds).dropFirst(early).map { time, kind in Change(at: time, offset: offsets[kind]) }
    let footer = try reader.footer()
    let posix = footer.isEmpty ? nil : try PosixTimeZone(footer)
    // Without a table the last line alone tells the offset.
    let alone = changes.isEmpty ? posix?.standardOffset : nil
    let first = early > 0 ? offsets[kinds[early - 1]] : offsets[0]
    self.init(name: name, firstOffset: alone ?? first, changes: changes, rule: posix?.rule)
  }
}

/// The numbers at the start of each of the two blocks.
private struct TZifHeader {
  /// `TZif`.
  static let magic = 0x545A_6966
  static let countMax = 20_000

  var version: Int
  var universalCount: Int
  var standardCount: Int
  var leapCount: Int
  var timeCount: Int
  var typeCount: Int
  var abbreviationBytes: Int

  init(_ reader: inout ByteReader) throws(TimeZoneDataError) {
    guard try reader.unsigned(bytes: 4) == Self.magic else { throw TimeZoneDataError("it is no TZif file") }
    let digit = try reader.unsigned(bytes: 1)
    version = digit == 0 ? 1 : digit - Int(UInt8(ascii: "0"))
    try reader.skip(15)
    universalCount = try reader.unsigned(bytes: 4)
    standardCount = try reader.unsigned(bytes: 4)
    leapCount = try reader.unsigned(bytes: 4)
    timeCount = try reader.unsigned(bytes: 4)
    typeCount = try reader.unsigned(bytes: 4)
    abbreviationBytes = try reader.unsigned(bytes: 4)
    let counts = [universalCount, standardCount, leapCount, timeCount, typeCount, abbreviationBytes]
    guard typeCount >= 1, counts.allSatisfy({ $0 <= Self.countMax }) else {
      throw TimeZoneDataError("its header is damaged")
    }
  }

  func blockBytes(timeBytes: Int) -> Int {
    timeCount * (timeBytes + 1) + typeCount * 6 + abbreviationBytes + leapCount * (timeBytes + 4) + standardCount
      + universalCount
  }
}

/// Reads numbers, most significant byte first.
private struct ByteReader {
  private let bytes: [UInt8]
  private var at = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  mutating func skip(_ count: Int) throws(TimeZoneDataError) {
    guard count <= bytes.count - at else { throw TimeZoneDataError("it is cut short at \(bytes.count) bytes") }
    at += count
  }

  mutating func unsigned(bytes count: Int) throws(TimeZoneDataError) -> Int {
    let start = at
    try skip(count)
    return bytes[start..<at].reduce(0) { $0 << 8 | Int($1) }
  }

  /// In two's complement.
  mutating func integer(bytes count: Int) throws(TimeZoneDataError) -> Int {
    let start = at
    try skip(count)
    let sign: Int64 = bytes[start] & 0x80 == 0 ? 0 : -1
    return Int(bytes[start..<at].reduce(sign) { $0 << 8 | Int64($1) })
  }

  /// What stands between the two line ends after the tables.
  mutating func footer() throws(TimeZoneDataError) -> ArraySlice<UInt8> {
    let newline = UInt8(ascii: "\n")
    guard bytes.count - at >= 2, bytes[at] == newline, let end = bytes[(at + 1)...].firstIndex(of: newline) else {
      throw TimeZoneDataError("its last line is missing")
    }
    return bytes[(at + 1)..<end]
  }
}
