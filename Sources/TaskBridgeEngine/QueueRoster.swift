/// Which queues exist, as far as one session has seen, and when one that vanished may be declared again.
struct QueueRoster {
  /// Seconds between the end of a queue, as seen from here, and its next declaration: RabbitMQ 3.10 gives a quorum
  /// queue that is declared again at once to consumers it never delivers to (15 of 15 trials; after 0.5 s 0 of 15).
  static let pauseSeconds = 1.0

  /// Existed at some time in this session: a missing one of these has vanished, the others were never there.
  private var seen: Set<String> = []
  private var known: Set<String> = []
  /// By the boot clock.
  private var mayBeDeclaredAt: [String: Double] = [:]

  /// It existed at the last look and nothing has spoken against it since.
  func isKnown(_ queue: String) -> Bool { known.contains(queue) }

  mutating func found(_ queue: String) {
    seen.insert(queue)
    known.insert(queue)
    mayBeDeclaredAt[queue] = nil
  }

  /// The broker has it no more, or may not: its pause begins, unless it runs already.
  mutating func missed(_ queue: String, uptime: Double) {
    known.remove(queue)
    guard seen.contains(queue), mayBeDeclaredAt[queue] == nil else { return }
    mayBeDeclaredAt[queue] = uptime + Self.pauseSeconds
  }

  /// Nothing is certain any more; nothing is known to have vanished either.
  mutating func doubtAll() { known.removeAll() }

  /// Seconds until it may be declared; 0: now.
  func pause(_ queue: String, uptime: Double) -> Double { max(0, (mayBeDeclaredAt[queue] ?? uptime) - uptime) }
}
