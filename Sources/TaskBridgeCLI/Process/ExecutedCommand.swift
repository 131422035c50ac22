import Foundation
import Synchronization

/// One run of a shell command: bytes in, bytes out, an end; can be told to stop.
///
/// A thread of its own moves the bytes and waits, because neither may hold up the cooperative pool.
final class ExecutedCommand: Sendable {
  /// Bytes of stdout kept for the result.
  static let resultBytesMax = 1 << 20
  /// Bytes of each output kept for its last 10,000 characters.
  static let tailBytesMax = 40_000
  /// From SIGINT to SIGKILL.
  static let stopSeconds = 10.0
  /// How long a look at pipes and child may be apart.
  private static let pollMilliseconds: Int32 = 20
  /// After the end, how long outputs held open by others are still read.
  private static let drainSeconds = 0.5

  struct Outcome: Sendable {
    var end: SpawnedProcess.End
    var output: OutputBuffer
    var error: OutputBuffer
    /// Whether it was told to stop before it ended.
    var wasStopped: Bool
    var wallclockSeconds: Double
    var usage: SpawnedProcess.Usage
  }

  private struct State {
    var stopRequestedAt: ContinuousClock.Instant?
    var isKilled = false
    var child: SpawnedProcess?
  }

  private let state = Mutex(State())
  private let command: String
  private let input: [UInt8]
  private let environment: [String: String]

  /// - Parameter command: run by `/bin/sh -c`.
  init(_ command: String, input: [UInt8], environment: [String: String]) {
    self.command = command
    self.input = input
    self.environment = environment
  }

  /// Tells the child to stop: SIGINT to its group now, SIGKILL after 10 s.
  func stop() {
    state.withLock { state in
      guard state.stopRequestedAt == nil else { return }
      state.stopRequestedAt = .now
      state.child?.signalGroup(SIGINT)
    }
  }

  /// Ends the child's group at once; for our own sudden end.
  func kill() {
    state.withLock { $0.child?.signalGroup(SIGKILL) }
  }

  /// Runs it to its end.
  /// - Throws: `SpawnedProcess.Failure` when the shell cannot be started.
  func run() async throws -> Outcome {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try self.runBlocking() }) }
    }
  }

  /// Pipes made for one child must not be inherited by another that is started at the same moment: it would hold them
  /// open.
  private static let starting = Mutex(())

  private func runBlocking() throws -> Outcome {
    let start = ContinuousClock.now
    var pipes = Pipes()
    defer { pipes.closeAll() }
    let child = try Self.starting.withLock { _ in
      try pipes.open()
      let child = try SpawnedProcess.start(
        "/bin/sh", ["-c", command], environment: environment,
        descriptors: .init(input: pipes.inputRead, output: pipes.outputWrite, error: pipes.errorWrite))
      pipes.closeChildEnds()
      return child
    }
    state.withLock { state in
      state.child = child
      if state.stopRequestedAt != nil { child.signalGroup(SIGINT) }
    }

    var output = OutputBuffer(headBytesMax: Self.resultBytesMax, tailBytesMax: Self.tailBytesMax)
    var error = OutputBuffer(headBytesMax: 0, tailBytesMax: Self.tailBytesMax)
    var rest = input[...]
    if rest.isEmpty { pipes.close(\.inputWrite) }
    var end: (end: SpawnedProcess.End, usage: SpawnedProcess.Usage)?
    var drainUntil: ContinuousClock.Instant?
    while true {
      let hasMoved = pipes.move(&rest, &output, &error, waitMilliseconds: pipes.isIdle ? 1 : Self.pollMilliseconds)
      if end == nil, let ended = child.pollEndAndUsage() {
        end = ended
        // From here on its pid may be another's.
        state.withLock { $0.child = nil }
        drainUntil = .now + .seconds(Self.drainSeconds)
        pipes.close(\.inputWrite)
      }
      if let drainUntil, pipes.isDrained || !hasMoved || ContinuousClock.now > drainUntil { break }
      killWhenOverdue(child, hasEnded: end != nil)
    }
    let wasStopped = state.withLock { $0.stopRequestedAt != nil }
    return Outcome(
      end: end?.end ?? .unknown, output: output, error: error, wasStopped: wasStopped,
      wallclockSeconds: (ContinuousClock.now - start) / .seconds(1), usage: end?.usage ?? .init())
  }

  private func killWhenOverdue(_ child: SpawnedProcess, hasEnded: Bool) {
    guard !hasEnded else { return }
    state.withLock { state in
      guard let requested = state.stopRequestedAt, !state.isKilled,
        ContinuousClock.now - requested > .seconds(Self.stopSeconds)
      else { return }
      state.isKilled = true
      child.signalGroup(SIGKILL)
    }
  }
}

/// The three pipes of a child. −1 is a closed end.
private struct Pipes {
  var inputRead: Int32 = -1
  var inputWrite: Int32 = -1
  var outputRead: Int32 = -1
  var outputWrite: Int32 = -1
  var errorRead: Int32 = -1
  var errorWrite: Int32 = -1

  /// Nothing is left to wait for but the child's end.
  var isIdle: Bool { isDrained && inputWrite < 0 }
  var isDrained: Bool { outputRead < 0 && errorRead < 0 }

  mutating func open() throws {
    (inputRead, inputWrite) = try Self.pair()
    (outputRead, outputWrite) = try Self.pair()
    (errorRead, errorWrite) = try Self.pair()
    for descriptor in [inputWrite, outputRead, errorRead] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
  }

  private static func pair() throws -> (Int32, Int32) {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else { throw SpawnedProcess.Failure(path: "/bin/sh", code: errno) }
    for descriptor in ends { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    return (ends[0], ends[1])
  }

  mutating func close(_ end: WritableKeyPath<Pipes, Int32>) {
    guard self[keyPath: end] >= 0 else { return }
    Glibc.close(self[keyPath: end])
    self[keyPath: end] = -1
  }

  mutating func closeChildEnds() {
    close(\.inputRead)
    close(\.outputWrite)
    close(\.errorWrite)
  }

  mutating func closeAll() {
    closeChildEnds()
    close(\.inputWrite)
    close(\.outputRead)
    close(\.errorRead)
  }

  /// Waits for a pipe to be ready, then moves what can be moved. Returns whether anything was.
  mutating func move(
    _ input: inout ArraySlice<UInt8>, _ output: inout OutputBuffer, _ error: inout OutputBuffer, waitMilliseconds: Int32
  ) -> Bool {
    var entries = [
      pollfd(fd: inputWrite, events: Int16(POLLOUT), revents: 0),
      pollfd(fd: outputRead, events: Int16(POLLIN), revents: 0),
      pollfd(fd: errorRead, events: Int16(POLLIN), revents: 0),
    ]
    guard poll(&entries, nfds_t(entries.count), waitMilliseconds) > 0 else { return false }
    if entries[0].revents != 0 { feed(&input) }
    if entries[1].revents != 0 { drain(\.outputRead, into: &output) }
    if entries[2].revents != 0 { drain(\.errorRead, into: &error) }
    return true
  }

  private mutating func feed(_ input: inout ArraySlice<UInt8>) {
    let count = input.withUnsafeBytes { write(inputWrite, $0.baseAddress, $0.count) }
    if count > 0 { input = input.dropFirst(count) }
    // A child that does not read its input is none of our business.
    if input.isEmpty || (count < 0 && errno != EAGAIN && errno != EINTR) { close(\.inputWrite) }
  }

  private mutating func drain(_ end: WritableKeyPath<Pipes, Int32>, into buffer: inout OutputBuffer) {
    var chunk = [UInt8](repeating: 0, count: 64 << 10)
    let count = read(self[keyPath: end], &chunk, chunk.count)
    if count > 0 { return buffer.append(chunk[..<count]) }
    if count == 0 || (errno != EAGAIN && errno != EINTR) { close(end) }
  }
}
