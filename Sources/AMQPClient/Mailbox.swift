import CRabbitMQ
import Glibc
import Synchronization

/// What tasks want from the connection's thread. The thread is woken by an eventfd, and only when it sleeps.
final class Mailbox: Sendable {
  enum Phase: Sendable {
    case open
    /// `close()` was called: no new work is taken; after the deadline (monotonic nanoseconds) nothing is waited for.
    case closing(deadline: UInt64)
    case closed(AMQPError?)
  }

  /// Messages of one `publish` call that wait for room in the window.
  struct PublishJob: Sendable {
    let id: UInt64
    let messages: [(id: UInt64, message: AMQPMessage)]
    var next = 0
    /// Set for `publishAndConfirm`: the result goes there and not into `outcomes`.
    let result: Promise<AMQPPublishResult>?
    var waiter: CheckedContinuation<Void, Never>?
  }

  /// Part of a job, handed to the thread.
  struct Publishes: Sendable {
    let messages: ArraySlice<(id: UInt64, message: AMQPMessage)>
    let result: Promise<AMQPPublishResult>?
  }

  struct Settlements: Sendable {
    var acknowledged: [UInt64] = []
    var rejected: [(tag: UInt64, requeue: Bool)] = []
    var isEmpty: Bool { acknowledged.isEmpty && rejected.isEmpty }
  }

  private struct State {
    var phase = Phase.open
    var jobs: [PublishJob] = []
    var nextJobID: UInt64 = 1
    /// Messages taken from publishers and without an outcome: queued here or in flight.
    var outstanding = 0
    var isBlocked = false
    var settlements = Settlements()
    var commands: [Command] = []
    var isSleeping = false

    /// The first to find the thread asleep wakes it; the others need not.
    mutating func takeSleeping() -> Bool {
      defer { isSleeping = false }
      return isSleeping
    }
  }

  private let state = Mutex(State())
  let wakeUp = tb_event_new()
  private let window: Int

  init(window: Int) { self.window = window }

  deinit { close(wakeUp) }

  private func wake(_ sleeping: Bool) {
    if sleeping { tb_event_signal(wakeUp) }
  }
}

// MARK: Called by tasks

extension Mailbox {
  enum PublishAdmission: Sendable {
    case taken
    /// The window is full: wait by `waitUntilTaken`.
    case queued(jobID: UInt64)
    case closed(AMQPError)
  }

  var isOpen: Bool {
    state.withLock { state in
      if case .open = state.phase { return true }
      return false
    }
  }

  var isBlocked: Bool { state.withLock { $0.isBlocked } }
  var outstanding: Int { state.withLock { $0.outstanding } }

  func publish(
    _ messages: [(id: UInt64, message: AMQPMessage)], result: Promise<AMQPPublishResult>? = nil
  ) -> PublishAdmission {
    let (admission, sleeping) = state.withLock { state -> (PublishAdmission, Bool) in
      if let error = refusal(state.phase) { return (.closed(error), false) }
      let fits = state.jobs.isEmpty && !state.isBlocked && state.outstanding + messages.count <= window
      let id = state.nextJobID
      state.nextJobID += 1
      state.jobs.append(PublishJob(id: id, messages: messages, result: result))
      state.outstanding += messages.count
      return (fits ? .taken : .queued(jobID: id), state.takeSleeping())
    }
    wake(sleeping)
    return admission
  }

  /// Returns when the thread has taken all messages of the job, the connection has ended, or the task was cancelled.
  /// - Returns: after a cancellation, the ids that were not taken and now never are.
  func waitUntilTaken(jobID: UInt64) async -> [UInt64] {
    await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
        let mustWait = state.withLock { state in
          guard !Task.isCancelled, let index = state.jobs.firstIndex(where: { $0.id == jobID }) else { return false }
          state.jobs[index].waiter = continuation
          return true
        }
        if !mustWait { continuation.resume() }
      }
    } onCancel: {
      let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
        guard let index = state.jobs.firstIndex(where: { $0.id == jobID }) else { return nil }
        defer { state.jobs[index].waiter = nil }
        return state.jobs[index].waiter
      }
      waiter?.resume()
    }
    return withdraw(jobID: jobID)
  }

  /// Takes back what is left of a job. Empty when the thread has taken everything.
  private func withdraw(jobID: UInt64) -> [UInt64] {
    state.withLock { state in
      guard let index = state.jobs.firstIndex(where: { $0.id == jobID }) else { return [] }
      let job = state.jobs.remove(at: index)
      let left = job.messages[job.next...].map(\.id)
      state.outstanding -= left.count
      return left
    }
  }

  func settle(acknowledged tags: [UInt64]) {
    let sleeping = state.withLock { state in
      state.settlements.acknowledged.append(contentsOf: tags)
      return state.takeSleeping()
    }
    wake(sleeping)
  }

  func reject(_ tag: UInt64, requeue: Bool) {
    let sleeping = state.withLock { state in
      state.settlements.rejected.append((tag, requeue))
      return state.takeSleeping()
    }
    wake(sleeping)
  }

  func send(_ command: Command) throws(AMQPError) {
    let (error, sleeping) = state.withLock { state -> (AMQPError?, Bool) in
      if let error = refusal(state.phase) { return (error, false) }
      state.commands.append(command)
      return (nil, state.takeSleeping())
    }
    if let error { throw error }
    wake(sleeping)
  }

  func beginClosing(within duration: Duration) {
    let deadline = MonotonicClock.now(plus: duration)
    let sleeping = state.withLock { state in
      guard case .open = state.phase else { return false }
      state.phase = .closing(deadline: deadline)
      return state.takeSleeping()
    }
    wake(sleeping)
  }

  private func refusal(_ phase: Phase) -> AMQPError? {
    switch phase {
    case .open: nil
    case .closing: AMQPError(.notOpen, "the connection is closing")
    case .closed(let error): error ?? AMQPError(.notOpen, "the connection is closed")
    }
  }
}

// MARK: Called by the connection's thread

extension Mailbox {
  var phase: Phase { state.withLock { $0.phase } }

  var hasPublishes: Bool { state.withLock { !$0.jobs.isEmpty } }

  var isEmpty: Bool {
    state.withLock { $0.jobs.isEmpty && $0.commands.isEmpty && $0.settlements.isEmpty }
  }

  func takeSettlements() -> Settlements {
    state.withLock { state in
      let settlements = state.settlements
      if !settlements.isEmpty { state.settlements = Settlements() }
      return settlements
    }
  }

  func takeCommands() -> [Command] {
    state.withLock { state in
      let commands = state.commands
      if !commands.isEmpty { state.commands = [] }
      return commands
    }
  }

  /// Takes at most `limit` messages, oldest first, and lets the publishers go on whose last message is taken.
  func takePublishes(limit: Int) -> [Publishes] {
    let (taken, waiters) = state.withLock { state -> ([Publishes], [CheckedContinuation<Void, Never>]) in
      guard !state.jobs.isEmpty else { return ([], []) }
      var taken: [Publishes] = []
      var waiters: [CheckedContinuation<Void, Never>] = []
      var room = limit
      var finished = 0
      while room > 0, finished < state.jobs.count {
        let job = state.jobs[finished]
        let end = min(job.messages.count, job.next + room)
        taken.append(Publishes(messages: job.messages[job.next..<end], result: job.result))
        room -= end - job.next
        guard end == job.messages.count else {
          state.jobs[finished].next = end
          break
        }
        if let waiter = job.waiter { waiters.append(waiter) }
        finished += 1
      }
      state.jobs.removeFirst(finished)
      return (taken, waiters)
    }
    for waiter in waiters { waiter.resume() }
    return taken
  }

  func settled(_ count: Int) {
    guard count > 0 else { return }
    state.withLock { $0.outstanding -= count }
  }

  func setBlocked(_ blocked: Bool) { state.withLock { $0.isBlocked = blocked } }

  /// - Parameter canPublish: whether waiting messages are something to do now.
  /// - Returns: whether the thread may sleep; then everything new writes to `wakeUp`.
  func prepareToSleep(canPublish: Bool) -> Bool {
    state.withLock { state in
      let idle =
        state.settlements.isEmpty && state.commands.isEmpty && (state.jobs.isEmpty || !canPublish)
      state.isSleeping = idle
      return idle
    }
  }

  func wokeUp() { state.withLock { $0.isSleeping = false } }

  /// Ends the mailbox. What is returned was never begun; its publishers are let go.
  func finish(_ error: AMQPError?) -> (publishes: [Publishes], commands: [Command]) {
    let (jobs, commands) = state.withLock { state in
      state.phase = .closed(error)
      state.isBlocked = false
      state.outstanding = 0
      let left = (state.jobs, state.commands)
      state.jobs = []
      state.commands = []
      state.settlements = Settlements()
      return left
    }
    for job in jobs { job.waiter?.resume() }
    let publishes = jobs.map { Publishes(messages: $0.messages[$0.next...], result: $0.result) }
    return (publishes, commands)
  }
}
