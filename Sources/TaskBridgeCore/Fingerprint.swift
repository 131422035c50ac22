/// What dead letters of the same cause have in common: a hash of task key, error type, and message without its numbers,
/// ids and quoted parts (contract §3.4). 16 lower-case hexadecimal digits, the same for ever on every machine.
public func fingerprint(task: TaskKey, errorType: String?, message: String?) -> String {
  var hash = FNV1a()
  hash.add(task.rawValue.utf8)
  hash.add(CollectionOfOne(0x1F))
  hash.add((errorType ?? "").utf8)
  hash.add(CollectionOfOne(0x1F))
  hash.add(fingerprintPattern(of: message ?? ""))
  return (0..<16).reduce(into: "") { text, index in
    let digit = UInt8(truncatingIfNeeded: hash.value >> UInt64(60 - 4 * index)) & 0xF
    text.unicodeScalars.append(Unicode.Scalar(hexCharacter(digit)))
  }
}

/// The message as bytes, with one `#` per number, id and quoted part and one space per stretch of white space.
///
/// Only the first 4,096 bytes count.
func fingerprintPattern(of message: String) -> [UInt8] {
  let bytes = Array(message.utf8.prefix(4096))
  var pattern: [UInt8] = []
  var at = 0
  while at < bytes.count {
    let byte = bytes[at]
    if let end = endOfQuoted(bytes, from: at) {
      appendMark(to: &pattern)
      at = end
    } else if let end = endOfUUID(bytes, from: at) {
      appendMark(to: &pattern)
      at = end
    } else if isWord(byte) {
      let end = bytes[at...].firstIndex { !isWord($0) } ?? bytes.count
      if isIdentifier(bytes[at..<end]) { appendMark(to: &pattern) } else { pattern.append(contentsOf: bytes[at..<end]) }
      at = end
    } else if byte <= 32 {
      if pattern.last != 32 { pattern.append(32) }
      at += 1
    } else {
      pattern.append(byte)
      at += 1
    }
  }
  while pattern.last == 32 { pattern.removeLast() }
  return pattern
}

/// `10.0.0.1:80`, `1,5` and `a1-b2` are one thing each: marks that only such a character parts become one.
private func appendMark(to pattern: inout [UInt8]) {
  let mark = UInt8(ascii: "#")
  if let last = pattern.last, ".,:-_/+".utf8.contains(last), pattern.dropLast().last == mark { pattern.removeLast() }
  if pattern.last == UInt8(ascii: "-") || pattern.last == UInt8(ascii: "+"),
    pattern.dropLast().last.map({ $0 == 32 || $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: "(") }) ?? true
  {
    // The sign of a number belongs to it.
    pattern.removeLast()
  }
  if pattern.last != mark { pattern.append(mark) }
}

private func isWord(_ byte: UInt8) -> Bool {
  (byte >= 48 && byte <= 57) || (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122) || byte >= 0x80
}

/// A word with a digit in it, or eight and more letters that are all hexadecimal digits.
private func isIdentifier(_ word: ArraySlice<UInt8>) -> Bool {
  word.contains { $0 >= 48 && $0 <= 57 } || (word.count >= 8 && word.allSatisfy { hexDigit($0) != nil })
}

private func endOfUUID(_ bytes: [UInt8], from start: Int) -> Int? {
  let end = start + 36
  guard end <= bytes.count, hexDigit(bytes[start]) != nil, start == 0 || !isWord(bytes[start - 1]),
    end == bytes.count || !isWord(bytes[end])
  else { return nil }
  for offset in 0..<36 {
    let isDash = offset == 8 || offset == 13 || offset == 18 || offset == 23
    guard isDash ? bytes[start + offset] == UInt8(ascii: "-") : hexDigit(bytes[start + offset]) != nil else {
      return nil
    }
  }
  return end
}

/// A part in double quotes, back quotes, or single quotes that stand at the edges of words (not that of "can't").
private func endOfQuoted(_ bytes: [UInt8], from start: Int) -> Int? {
  let quote = bytes[start]
  switch quote {
  case UInt8(ascii: "\""), UInt8(ascii: "`"):
    return bytes[(start + 1)...].firstIndex(of: quote).map { $0 + 1 }
  case UInt8(ascii: "'"):
    guard start == 0 || !isWord(bytes[start - 1]) else { return nil }
    var at = start + 1
    while at < bytes.count {
      if bytes[at] == quote, at + 1 == bytes.count || !isWord(bytes[at + 1]) { return at + 1 }
      at += 1
    }
    return nil
  default: return nil
  }
}

/// FNV-1a, 64 bits: not against forgery, but the same everywhere.
private struct FNV1a {
  var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ bytes: some Sequence<UInt8>) {
    for byte in bytes { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
  }
}
