import Foundation

/// Closed-loop load: each connection sends its next request when it has the answer to the last.
///
/// One thread for all connections: about 10 µs of CPU for a request, so that two cores are left to the bridge.
struct HTTPLoad: Sendable {
  /// What came of it.
  struct Figures: Sendable {
    let requests: Int
    let seconds: Double
    /// CPU time of the generator's thread, seconds.
    let cpuSeconds: Double

    var perSecond: Double { Double(requests) / seconds }
  }

  let port: Int
  let connections: Int

  /// Sends `request` that many times.
  ///
  /// - Parameter wanted: status that every answer must have.
  /// - Throws: `BenchError` with the first answer that has another.
  func run(_ request: [UInt8], times: Int, wanted: Int) async throws -> Figures {
    // Not on the pool of Swift's tasks: it would block one of its two threads for the whole time.
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(with: Result { try self.loop(request, times: times, wanted: wanted) })
      }
    }
  }

  private func loop(_ request: [UInt8], times: Int, wanted: Int) throws -> Figures {
    let open = try (0..<min(connections, times)).map { _ in try HTTPLoadConnection(port: port) }
    var descriptors = open.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    let cpu = Self.threadCPUSeconds()
    let begun = ContinuousClock.now
    var sent = open.count
    var answered = 0
    for connection in open { try connection.write(request) }
    while answered < times {
      let ready = poll(&descriptors, nfds_t(descriptors.count), 60_000)
      guard ready > 0 else { throw BenchError("the bridge answers nobody for a minute") }
      for index in descriptors.indices where descriptors[index].revents != 0 {
        descriptors[index].revents = 0
        try open[index].read { answer in
          guard answer.status == wanted else {
            let text = String(decoding: answer.body.prefix(400), as: UTF8.self)
            throw BenchError("a request was answered \(answer.status), not \(wanted): \(text)")
          }
        }
        answered += 1
        if sent < times {
          sent += 1
          try open[index].write(request)
        }
      }
    }
    let seconds = (ContinuousClock.now - begun).seconds
    return Figures(requests: times, seconds: seconds, cpuSeconds: Self.threadCPUSeconds() - cpu)
  }

  private static func threadCPUSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
