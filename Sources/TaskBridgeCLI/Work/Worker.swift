import AMQPClient
import Foundation
import Logging
import Synchronization

/// Takes runs from their queues and has a command do them.
final class Worker: Sendable {
  /// How long the report of an end is tried to be published once the worker was told to stop.
  static let lastReportPatience = Duration.seconds(30)
  /// How long the answer to an end is waited for, only to tell of a refusal.
  static let endAnswerPatience = Duration.seconds(5)
  /// First and longest pause between two looks for a queue that does not exist yet.
  static let queuePauseMin = Duration.milliseconds(500)
  static let queuePauseMax = Duration.seconds(5)

  struct Settings: Sendable {
    var broker: AMQPConfiguration
    var prefix: String
    var tasks: [String]
    var command: String
    var parallel: Int
    var worker: String
    var node: String
    var environment: [String: String]
  }

  private let settings: Settings
  private let prefetch: Int
  private let slots: Slots
  private let ledger: RunLedger
  private let reporter: Reporter
  private let stop: StopLatch
  private let logger: Logger

  init(_ settings: Settings, ledger: RunLedger, prefetch: Int, stop: StopLatch, logger: Logger) {
    self.settings = settings
    self.prefetch = prefetch
    self.ledger = ledger
    self.stop = stop
    self.logger = logger
    slots = Slots(settings.parallel)
    reporter = Reporter(settings.broker, stop: stop, logger: logger)
  }

  /// Unacknowledged messages per queue: half of the places, so that claims run beside each other and acknowledgements
  /// are early.
  static func prefetch(parallel: Int, queues: Int) -> Int { max(1, parallel / (2 * max(1, queues))) }

  /// Works until it is told to stop, then finishes what runs.
  func run() async {
    await withTaskGroup(of: Void.self) { helpers in
      helpers.addTask { await self.reporter.run() }
      helpers.addTask {
        await CancelListener(
          broker: self.settings.broker, exchange: "\(self.settings.prefix).control", tasks: self.settings.tasks,
          ledger: self.ledger, logger: self.logger
        ).run()
      }
      await withTaskGroup(of: Void.self) { queues in
        for task in settings.tasks { queues.addTask { await self.serve(task) } }
      }
      helpers.cancelAll()
    }
  }

  // MARK: One queue

  /// What the present connection of a queue is, for whoever ends its consumer.
  private final class Intake: Sendable {
    let current = Mutex<(connection: AMQPConnection, consumer: AMQPConsumer)?>(nil)
  }

  private func serve(_ task: String) async {
    let intake = Intake()
    await withDiscardingTaskGroup { runs in
      runs.addTask { await self.endIntake(intake) }
      var dialer = Dialer(settings.broker, purpose: task, logger: logger)
      while stop.signal == nil {
        guard let connection = await dialer.open(unless: stop) else { break }
        do throws(AMQPError) {
          guard try await waitForQueue(of: task, connection) else { break }
          let consumer = try await connection.consume(
            "\(settings.prefix).run.\(task)", prefetch: UInt16(clamping: prefetch))
          intake.current.withLock { $0 = (connection, consumer) }
          // The signal may have come before there was a consumer to end.
          if stop.signal != nil { try await connection.cancel(consumer) }
          for try await batch in consumer {
            for delivery in batch { runs.addTask { await self.handle(delivery, of: task, from: connection) } }
          }
          dialer.ended(nil)
        } catch {
          dialer.ended(error)
        }
        if stop.signal == nil {
          // What was not acknowledged comes again; claims tell apart who goes on with it.
          await connection.close()
        }
      }
    }
    await intake.current.withLock { $0 }?.connection.close()
  }

  /// Stops the intake when the worker is told to stop; what runs keeps its connection for the acknowledgements.
  private func endIntake(_ intake: Intake) async {
    guard await stop.wait() != nil else { return }
    slots.close()
    if let current = intake.current.withLock({ $0 }) {
      do throws(AMQPError) {
        try await current.connection.cancel(current.consumer)
      } catch {
        logger.debug("the consumer had ended", metadata: ["reason": "\(error.text)"])
      }
    }
    ledger.drain()
  }

  /// The bridge declares a queue with the first run of its task key.
  /// - Returns: false when the worker was told to stop first.
  private func waitForQueue(of task: String, _ connection: AMQPConnection) async throws(AMQPError) -> Bool {
    let queue = "\(settings.prefix).run.\(task)"
    var pause = Self.queuePauseMin
    while true {
      do {
        _ = try await connection.declareQueue(queue, passive: true)
        StandardError.say("working on \(queue)")
        return true
      } catch  where error.kind == .channelClosed && error.code == AMQPError.notFound {
        if pause == Self.queuePauseMin {
          StandardError.say(
            "\(queue) does not exist yet: waiting for the bridge to make it with the first run of \(task)")
        }
        guard await stop.pause(pause) else { return false }
        pause = min(pause * 2, Self.queuePauseMax)
      }
    }
  }

  // MARK: One run

  private func handle(_ delivery: AMQPDelivery, of task: String, from connection: AMQPConnection) async {
    let tag = delivery.deliveryTag
    guard stop.signal == nil else { return connection.reject(tag, requeue: true) }
    guard delivery.problem == nil, let message = RunMessage(delivery, task: task) else {
      StandardError.say(
        "a message on \(settings.prefix).run.\(task) is no run of a bridge; given back as not understood")
      return connection.reject(tag, requeue: false)
    }
    guard
      case .new(let claim) = ledger.admit(
        message, tag: tag, connection: connection, newClaim: UUID().uuidString.lowercased())
    else { return }
    let reports = WorkerReports(
      worker: settings.worker, node: settings.node, claim: claim, nextReportSeconds: Self.heartbeatSeconds(message))

    // Claimed before there is a place: the bridge takes a message that nobody claims for lost.
    guard let answer = await reporter.ask(report(message, "running", reports.running())) else {
      return ledger.unanswered(message, tag: tag, connection: connection, claim: claim)
    }
    guard answer.isAccepted else {
      StandardError.say("run \(message.runID) attempt \(message.attempt): not started, \(answer.code)")
      return ledger.refused(message, tag: tag, connection: connection)
    }
    let command = ExecutedCommand(settings.command, input: message.payload, environment: environment(for: message))
    ledger.accepted(message, tag: tag, connection: connection, command: command)
    await work(message, command, reports)
  }

  private func work(_ message: RunMessage, _ command: ExecutedCommand, _ reports: WorkerReports) async {
    let endAnswer = OneShot<ReportAnswer>()
    let hasEnded = Mutex(false)
    reporter.listen(message.token) { answer in
      if hasEnded.withLock({ $0 }) { return endAnswer.fulfil(answer) }
      if answer.tellsToStop { command.stop() }
    }
    defer { reporter.forget(message.token) }

    let (state, body, seconds) = await withTaskGroup(of: Void.self) { beside in
      beside.addTask { await self.sendHeartbeats(message, reports) }
      let end = await execute(command, reports)
      beside.cancelAll()
      return end
    }
    hasEnded.withLock { $0 = true }
    let isSent = await reporter.tell(
      report(message, state, body), patience: stop.signal == nil ? nil : Self.lastReportPatience)
    ledger.finished(message)
    guard isSent else {
      return StandardError.say(
        "run \(message.runID) attempt \(message.attempt): \(state), but the report could not be sent")
    }
    StandardError.say(
      "run \(message.runID) attempt \(message.attempt): \(state) after "
        + "\(JSONText.number((seconds * 1_000).rounded() / 1_000)) s"
    )
    guard stop.signal == nil, let answer = await endAnswer.value(within: Self.endAnswerPatience),
      answer.verdict != "accept"
    else { return }
    StandardError.say(
      "run \(message.runID) attempt \(message.attempt): the report was refused, "
        + "\(answer.code)\(answer.detail.map { ": \(Escaping.visible($0))" } ?? "")"
    )
  }

  /// Waits for a place and runs the command.
  private func execute(
    _ command: ExecutedCommand, _ reports: WorkerReports
  ) async -> (state: String, body: [UInt8], seconds: Double) {
    guard await slots.take() else { return ("snoozed", reports.snoozed(), 0) }
    defer { slots.release() }
    do {
      let outcome = try await command.run()
      let end = reports.end(outcome)
      return (end.state, end.body, outcome.wallclockSeconds)
    } catch {
      return ("failed", reports.failed(type: "cannot_start", message: "\(error)", retryable: true), 0)
    }
  }

  /// Three per lease; each answer may tell to stop.
  private static func heartbeatSeconds(_ message: RunMessage) -> Double { max(1, Double(message.leaseSeconds) / 3) }

  private func sendHeartbeats(_ message: RunMessage, _ reports: WorkerReports) async {
    while true {
      do {
        try await Task.sleep(for: .seconds(reports.nextReportSeconds))
      } catch {
        return
      }
      await reporter.mention(report(message, "heartbeat", reports.heartbeat()))
    }
  }

  private func report(_ message: RunMessage, _ state: String, _ body: [UInt8]) -> AMQPMessage {
    AMQPMessage(
      exchange: message.reports, routingKey: "\(state).\(message.task)",
      properties: AMQPProperties(
        contentType: "application/json", deliveryMode: 2, correlationID: message.token, replyTo: Reporter.replyTo,
        type: state, appID: "taskbridge work"),
      body: body)
  }

  private func environment(for message: RunMessage) -> [String: String] {
    var environment = settings.environment
    environment["TASKBRIDGE_RUN_ID"] = message.runID
    environment["TASKBRIDGE_ATTEMPT"] = String(message.attempt)
    environment["TASKBRIDGE_TASK"] = message.task
    environment["TASKBRIDGE_TOKEN"] = message.token
    return environment
  }
}
