/// Where the first byte stands that no valid UTF-8 has there; `nil` when all is valid.
func firstInvalidUTF8(in bytes: UnsafeBufferPointer<UInt8>) -> Int? {
  let raw = UnsafeRawBufferPointer(bytes)
  var at = 0
  while at < bytes.count {
    // Eight at a time while they are ASCII.
    while at + 8 <= bytes.count, raw.loadUnaligned(fromByteOffset: at, as: UInt64.self) & 0x8080_8080_8080_8080 == 0 {
      at += 8
    }
    guard at < bytes.count else { break }
    let byte = bytes[at]
    if byte < 0x80 {
      at += 1
      continue
    }
    let second = at + 1 < bytes.count ? bytes[at + 1] : 0
    let length: Int
    let seconds: ClosedRange<UInt8>
    switch byte {
    case 0xC2...0xDF: (length, seconds) = (2, 0x80...0xBF)
    case 0xE0: (length, seconds) = (3, 0xA0...0xBF)
    case 0xE1...0xEC, 0xEE, 0xEF: (length, seconds) = (3, 0x80...0xBF)
    case 0xED: (length, seconds) = (3, 0x80...0x9F)
    case 0xF0: (length, seconds) = (4, 0x90...0xBF)
    case 0xF1...0xF3: (length, seconds) = (4, 0x80...0xBF)
    case 0xF4: (length, seconds) = (4, 0x80...0x8F)
    default: return at
    }
    guard at + length <= bytes.count, seconds.contains(second) else { return at }
    for position in at + 2..<max(at + 2, at + length) where bytes[position] & 0xC0 != 0x80 { return at }
    at += length
  }
  return nil
}
