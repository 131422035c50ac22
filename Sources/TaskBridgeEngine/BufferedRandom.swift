import Glibc

/// The system's random numbers, asked for many at a time: a system call for each shows at thousands of runs a second.
struct BufferedRandom: RandomNumberGenerator {
  /// `getentropy` gives at most 256 bytes.
  private static let count = 32
  private var numbers: [UInt64] = []

  mutating func next() -> UInt64 {
    if let number = numbers.popLast() { return number }
    var fresh = [UInt64](repeating: 0, count: Self.count)
    guard getentropy(&fresh, Self.count * MemoryLayout<UInt64>.size) == 0 else {
      var system = SystemRandomNumberGenerator()
      return system.next()
    }
    numbers = fresh
    return numbers.removeLast()
  }
}
