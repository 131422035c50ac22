import NIOCore
import Synchronization

/// The open connections, so that a crowd of idle ones cannot keep others out: above the bound, the one that has been
/// idle longest is closed for each new one.
final class ConnectionTable: Sendable {
  /// One connection; its marks are set by its own event loop and read by others.
  final class Entry: Sendable {
    private static let busy = Int64.max
    let channel: any Channel
    /// Uptime in nanoseconds since when it is idle.
    private let idleSince = Atomic<Int64>(Entry.now)

    init(channel: any Channel) { self.channel = channel }

    var idleMark: Int64? {
      let mark = idleSince.load(ordering: .relaxed)
      return mark == Self.busy ? nil : mark
    }

    func setBusy() { idleSince.store(Self.busy, ordering: .relaxed) }
    func setIdle() { idleSince.store(Self.now, ordering: .relaxed) }

    private static var now: Int64 { Int64(clamping: NIODeadline.now().uptimeNanoseconds) }
  }

  private let countMax: Int
  private let entries = Mutex<[ObjectIdentifier: Entry]>([:])

  init(countMax: Int) { self.countMax = countMax }

  var count: Int { entries.withLock { $0.count } }

  func add(_ channel: any Channel) -> Entry {
    let entry = Entry(channel: channel)
    let evicted: Entry? = entries.withLock { entries in
      var oldest: (entry: Entry, mark: Int64)?
      if entries.count >= countMax {
        for other in entries.values {
          if let mark = other.idleMark, mark < oldest?.mark ?? .max { oldest = (other, mark) }
        }
      }
      // Taken out at once: it is still closing when the next connection looks for the oldest.
      if let oldest { entries[ObjectIdentifier(oldest.entry)] = nil }
      entries[ObjectIdentifier(entry)] = entry
      return oldest?.entry
    }
    evicted?.channel.close(promise: nil)
    return entry
  }

  func remove(_ entry: Entry) {
    _ = entries.withLock { $0.removeValue(forKey: ObjectIdentifier(entry)) }
  }
}
