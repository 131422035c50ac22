/// Keeps the beginning and the end of an output of any length.
struct OutputBuffer: Sendable {
  let headBytesMax: Int
  let tailBytesMax: Int
  private(set) var head: [UInt8] = []
  private var recent: [UInt8] = []
  /// Everything that was written, kept or not.
  private(set) var byteCount = 0

  init(headBytesMax: Int, tailBytesMax: Int) {
    self.headBytesMax = headBytesMax
    self.tailBytesMax = tailBytesMax
  }

  var isCut: Bool { byteCount > head.count }

  mutating func append(_ bytes: ArraySlice<UInt8>) {
    byteCount += bytes.count
    head += bytes.prefix(headBytesMax - head.count)
    recent += bytes
    // Trimmed now and then, not at every piece, so that a long output costs no copying of its own length squared.
    if recent.count > 2 * tailBytesMax { recent.removeFirst(recent.count - tailBytesMax) }
  }

  /// The last characters as text; what is no UTF-8 is replaced.
  func tail(characters: Int) -> String {
    String(String(decoding: recent.suffix(tailBytesMax), as: UTF8.self).suffix(characters))
  }
}
