import CRabbitMQ
import Glibc
import Logging

/// Everything a connection does, on its own thread, in turns: read and dispatch frames, settle deliveries, send a
/// request, publish; then sleep until the socket or the mailbox has something.
///
/// Only this thread touches the handle. Reading comes before each group of publishes, because the library's publish
/// waits for ever when the peer has been silent for two heartbeats, and it is the reading that notices.
final class FrameLoop {
  /// The library wants to be called often enough to send and to miss heartbeats.
  static let pollMilliseconds: Int32 = 100
  static let framesPerTurn = 4096
  static let publishesPerTurn = 64
  /// Decoded frames stay in the library's memory until it is told to let go.
  static let framesPerRelease = 64
  static let bytesPerRelease = 1 << 20

  enum ConfirmMode { case off, selecting, on }

  struct Pending {
    let command: Command
    /// Monotonic nanoseconds; put off while the broker has blocked us, for then it does not read.
    var deadline: UInt64
    /// A `consume` whose `basic.qos` was answered.
    var isSecondStep = false
    let isInternal: Bool
  }

  enum PublishDestination {
    case outcomes(id: UInt64)
    case promise(Promise<AMQPPublishResult>)
  }

  let handle: AMQPHandle
  let guarded: SocketGuard
  let line: ConnectionLine
  let timeouts: AMQPConfiguration.Timeouts
  let bodyBytesMax: Int
  let logger: Logger
  let arena = WireArena()

  var frame = amqp_frame_t()
  var assembly: ContentAssembly?
  var consumers: [ConsumerEntry] = []
  var ledger = DeliveryLedger()
  var confirms = ConfirmWindow<PublishDestination>()
  var confirmMode = ConfirmMode.off
  var isChannelOpen = true
  var isBlocked = false
  var isFlowStopped = false
  /// The request under way, and those that follow it.
  var pending: Pending?
  var commands: [Command] = []
  /// Outcomes since the last flush.
  var outcomes: [AMQPPublishOutcome] = []
  var settledCount = 0
  var lastExchange = LastName()
  var lastRoutingKey = LastName()
  var bytesSinceRelease = 0

  init(
    handle: consuming AMQPHandle, guarded: SocketGuard, line: ConnectionLine, timeouts: AMQPConfiguration.Timeouts,
    bodyBytesMax: Int, logger: Logger
  ) {
    self.handle = handle
    self.guarded = guarded
    self.line = line
    self.timeouts = timeouts
    self.bodyBytesMax = bodyBytesMax
    self.logger = logger
  }

  /// Runs until the connection ends. Afterwards everything is reported and the handle must not be used.
  func run() {
    var failure: AMQPError?
    do throws(AMQPError) {
      while try turn() {}
    } catch {
      failure =
        guarded.hasExpired
        ? AMQPError(.timeout, code: error.code, "a call to the broker hung and was cut: \(error.text)") : error
    }
    guarded.rest()
    end(failure)
  }

  /// - Returns: `false` after an orderly close.
  private func turn() throws(AMQPError) -> Bool {
    guarded.touch()
    let mayHaveMore = try readFrames()
    flush()
    try settleDeliveries()
    try startRequests()
    let published = try publish()
    flush()
    try checkDeadlines()
    if try closeIfDone() { return false }
    guarded.rest()
    if !mayHaveMore, !published { sleep() }
    return true
  }

  /// Dispatches what has come in.
  /// - Returns: whether there may be more already.
  private func readFrames() throws(AMQPError) -> Bool {
    for count in 1...Self.framesPerTurn {
      guarded.touch()
      let status = tb_next_frame(handle.state, &frame)
      if status == AMQP_STATUS_TIMEOUT.rawValue {
        amqp_maybe_release_buffers(handle.state)
        bytesSinceRelease = 0
        return false
      }
      guard status == AMQP_STATUS_OK.rawValue else { throw readError(status) }
      try dispatch()
      if count % Self.framesPerRelease == 0 || bytesSinceRelease >= Self.bytesPerRelease {
        amqp_maybe_release_buffers(handle.state)
        bytesSinceRelease = 0
      }
    }
    return true
  }

  private func readError(_ status: Int32) -> AMQPError {
    switch status {
    case AMQP_STATUS_HEARTBEAT_TIMEOUT.rawValue:
      AMQPError(
        .connectionLost, code: Int(status),
        "the broker was silent for two heartbeats of \(handle.heartbeatSeconds) s")
    default: .library(status, "the connection to the broker broke")
    }
  }

  private func sleep() {
    guard amqp_frames_enqueued(handle.state) == 0, amqp_data_in_buffer(handle.state) == 0 else { return }
    guard line.mailbox.prepareToSleep(canPublish: publishRoom > 0) else { return }
    var pollers = (
      pollfd(fd: handle.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: line.mailbox.wakeUp, events: Int16(POLLIN), revents: 0)
    )
    withUnsafeMutableBytes(of: &pollers) { bytes in
      _ = poll(bytes.assumingMemoryBound(to: pollfd.self).baseAddress, 2, Self.pollMilliseconds)
    }
    line.mailbox.wokeUp()
    if pollers.1.revents != 0 {
      tb_event_clear(line.mailbox.wakeUp)
    }
  }

  /// Gives the tasks what has gathered: one wake-up for each, however many messages.
  func flush() {
    for consumer in consumers { flush(consumer) }
    // Before the outcomes: whoever reads the last one finds nothing outstanding.
    line.mailbox.settled(settledCount)
    settledCount = 0
    if !outcomes.isEmpty {
      line.outcomes.append(outcomes)
      outcomes = []
    }
  }

  private func checkDeadlines() throws(AMQPError) {
    guard let pending, MonotonicClock.now() > pending.deadline else { return }
    if isBlocked {
      self.pending?.deadline = MonotonicClock.now(plus: timeouts.request)
      return
    }
    let request = pending.command.request
    throw AMQPError(.timeout, "the broker did not answer in time: \(request.summary)\(request.adviceAfterSilence)")
  }

  /// - Returns: whether the connection was closed in an orderly way.
  private func closeIfDone() throws(AMQPError) -> Bool {
    guard case .closing(let deadline) = line.mailbox.phase else { return false }
    // The mailbox last: what was put in before `close()` may have come since this turn looked.
    let isIdle = confirms.count == 0 && pending == nil && commands.isEmpty && line.mailbox.isEmpty
    guard isIdle || MonotonicClock.now() >= deadline else { return false }
    try settleDeliveries()
    var farewell = timeouts.farewell.timeval
    amqp_set_rpc_timeout(handle.state, &farewell)
    guarded.touch()
    let reply = tb_reply(amqp_connection_close(handle.state, Int32(AMQP_REPLY_SUCCESS)))
    if reply.status != 0 || reply.code != 0 {
      // We wanted to go anyway; what was not confirmed by now is reported as unknown.
      logger.debug("the broker did not say goodbye", metadata: ["status": "\(reply.status)"])
    }
    return true
  }

  func checkSent(_ status: Int32, _ what: String) throws(AMQPError) {
    guard status >= 0 else { throw .library(status, "cannot \(what)") }
  }

  /// Corking saves packets and system calls when several frames follow each other.
  func corked<Failure: Error>(_ cork: Bool, _ body: () throws(Failure) -> Void) throws(Failure) {
    if cork { tb_cork(handle.descriptor, 1) }
    defer { if cork { tb_cork(handle.descriptor, 0) } }
    try body()
  }
}
