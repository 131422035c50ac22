import CRabbitMQ

/// Memory for what one library call reads: strings and tables in C form. Valid until `reset()`.
///
/// Used by the connection's thread alone. Bodies are not copied here, they are lent from the caller's array.
final class WireArena {
  private static let chunkBytes = 64 * 1024

  private let chunk = UnsafeMutableRawPointer.allocate(byteCount: WireArena.chunkBytes, alignment: 16)
  private var used = 0
  /// What did not fit into the chunk, freed by `reset()`.
  private var extra: [UnsafeMutableRawPointer] = []

  deinit {
    reset()
    chunk.deallocate()
  }

  func reset() {
    used = 0
    for pointer in extra { pointer.deallocate() }
    extra.removeAll(keepingCapacity: true)
  }

  func allocate(byteCount: Int) -> UnsafeMutableRawPointer {
    let rounded = (byteCount + 15) & ~15
    if used + rounded <= Self.chunkBytes {
      defer { used += rounded }
      return chunk + used
    }
    let pointer = UnsafeMutableRawPointer.allocate(byteCount: max(rounded, 16), alignment: 16)
    extra.append(pointer)
    return pointer
  }

  func array<Element>(of _: Element.Type, count: Int) -> UnsafeMutablePointer<Element> {
    allocate(byteCount: count * MemoryLayout<Element>.stride).bindMemory(to: Element.self, capacity: max(count, 1))
  }

  func bytes(_ text: String) -> amqp_bytes_t {
    let count = text.utf8.count
    guard count > 0 else { return amqp_empty_bytes }
    let target = allocate(byteCount: count)
    if text.utf8.withContiguousStorageIfAvailable({ target.copyMemory(from: $0.baseAddress!, byteCount: count) }) == nil
    {
      for (index, byte) in text.utf8.enumerated() { target.storeBytes(of: byte, toByteOffset: index, as: UInt8.self) }
    }
    return amqp_bytes_t(len: count, bytes: target)
  }

  func bytes(_ source: [UInt8]) -> amqp_bytes_t {
    guard !source.isEmpty else { return amqp_empty_bytes }
    let target = allocate(byteCount: source.count)
    source.withUnsafeBytes { target.copyMemory(from: $0.baseAddress!, byteCount: source.count) }
    return amqp_bytes_t(len: source.count, bytes: target)
  }
}
