import Foundation
import Synchronization

/// A RabbitMQ node that belongs to one `taskbridge dev`: own folder, own ports on loopback, own session.
///
/// A node that outlived its `dev` (kill -9) is found again by `broker.json` and used. While `supervise()` runs, a node
/// that ended is started again on the same port, with fresh data when its folder is gone.
final class PrivateBroker: Sendable {
  /// Longest start; a node takes 4 to 7 s on an idle machine.
  static let startSecondsMax = 60.0
  /// How long a node may take to end before it is killed.
  static let stopSecondsMax = 15.0
  /// Pause between two looks at the process.
  static let watchInterval = Duration.milliseconds(250)
  /// Pause before a start that follows a failed one: doubled each time up to this.
  static let restartPauseMax = Duration.seconds(30)

  let folder: BrokerFolder
  private let recordPath: String
  private let server: String
  private let requestedPort: Int?
  private let running = Mutex<Running?>(nil)

  private struct Running {
    var record: BrokerRecord
    /// Set when the node is a child of ours, which must be collected.
    var child: SpawnedProcess?
    var epmdChild: SpawnedProcess?
  }

  /// - Parameter dataFolder: the folder of the bridge's store; the node lives in `broker` below it.
  /// - Throws: `CommandFailure` with status 5 when no RabbitMQ is installed.
  init(dataFolder: String, port: Int?, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
    folder = BrokerFolder(path: dataFolder + "/broker")
    recordPath = dataFolder + "/broker.json"
    requestedPort = port
    // The wrapper in /usr/sbin changes user and session; ending it would leave the node alive.
    server = environment["TASKBRIDGE_RABBITMQ_SERVER"] ?? "/usr/lib/rabbitmq/bin/rabbitmq-server"
    guard access(server, X_OK) == 0 else {
      throw CommandFailure(
        .unreachable, "rabbitmq_missing",
        "RabbitMQ is not installed ('\(server)' is missing); install it with:\n  apt-get install "
          + "rabbitmq-server\nor use a broker of your own: taskbridge serve --amqp URL"
      )
    }
  }

  /// URL of the node; nil before `start()`.
  var url: String? { running.withLock { $0?.record.url } }

  /// Starts the node, or finds the one that still runs, and writes `broker.json`.
  /// - Throws: `CommandFailure` with status 5 and the node's last words; nothing is left running then.
  func start() async throws {
    let left = BrokerRecord.read(recordPath)
    if let left, left.isAlive, left.marker == folder.marker {
      if requestedPort == nil || requestedPort == left.port, await answers(left, seconds: Self.startSecondsMax) {
        StandardError.say("using the broker that still runs (pid \(left.pid))")
        running.withLock { $0 = Running(record: left) }
        return
      }
      running.withLock { $0 = Running(record: left) }
      await stop()
    } else if let left, left.epmdIsAlive, let epmd = left.epmdPID {
      kill(epmd, SIGTERM)
    }
    let port: Int
    if let requestedPort {
      guard LoopbackPort.isFree(requestedPort) else {
        throw CommandFailure(
          .unreachable, "port_in_use",
          "port \(requestedPort) of 127.0.0.1 is in use: choose another with --amqp-port, or leave it out")
      }
      port = requestedPort
    } else if let left, LoopbackPort.isFree(left.port) {
      port = left.port
    } else {
      port = try LoopbackPort.free()
    }
    try await launch(port: port)
  }

  /// Starts the node again whenever it has ended, until the task is cancelled.
  func supervise() async throws {
    while true {
      try await Task.sleep(for: Self.watchInterval)
      guard let current = running.withLock({ $0 }), !isAlive(current) else { continue }
      StandardError.say(
        "the broker (pid \(current.record.pid)) has ended; starting it again on port \(current.record.port)")
      await collect()
      var pause = Duration.seconds(1)
      while true {
        do {
          try await launch(port: current.record.port)
          StandardError.say("the broker is back (pid \(running.withLock { $0?.record.pid } ?? 0))")
          break
        } catch let failure as CommandFailure {
          StandardError.say("\(failure.message)\ntrying again in \(pause)")
          try await Task.sleep(for: pause)
          pause = min(pause * 2, Self.restartPauseMax)
        }
      }
    }
  }

  /// Ends the node: SIGTERM, then SIGKILL. Afterwards `broker.json` is gone.
  func stop() async {
    guard let current = running.withLock({ $0 }) else { return }
    if isAlive(current) { kill(current.record.pid, SIGTERM) }
    await waitForEnd(current, seconds: Self.stopSecondsMax)
    if isAlive(current) {
      kill(-current.record.pid, SIGKILL)
      await waitForEnd(current, seconds: 5)
    }
    await collect()
    unlink(recordPath)
  }

  /// Ends the node without waiting; for the second signal.
  func killNow() {
    guard let current = running.withLock({ $0 }) else { return }
    if isAlive(current) { kill(-current.record.pid, SIGKILL) }
    if let epmd = current.record.epmdPID, current.record.epmdIsAlive { kill(epmd, SIGKILL) }
    unlink(recordPath)
  }

  // MARK: One node

  private func launch(port: Int) async throws {
    let owner = BrokerOwner.suitable(forFolder: folder.path)
    try folder.prepare(port: port, owner: owner)
    let epmdPort = try LoopbackPort.free()
    let epmd = startEPMD(port: epmdPort, owner: owner)
    let node: SpawnedProcess
    do {
      let command = owner.command(server, [])
      node = try withLog { log in
        try SpawnedProcess.start(
          command.path, command.arguments,
          environment: environment(epmdPort: epmdPort, distributionPort: try LoopbackPort.free()),
          descriptors: log, folder: folder.path)
      }
    } catch {
      epmd.map { _ = kill($0.pid, SIGKILL) }
      throw CommandFailure(.unreachable, "broker_failed", "the broker does not start: \(error)")
    }
    let record = BrokerRecord(
      pid: node.pid, port: port, url: "amqp://guest:guest@127.0.0.1:\(port)/%2f", dataDirectory: folder.path,
      epmdPID: epmd?.pid, marker: folder.marker)
    running.withLock { $0 = Running(record: record, child: node, epmdChild: epmd) }
    do {
      // Written before it is ready: if we are killed now, the next start still finds the node.
      try record.write(recordPath)
      guard await answers(record, seconds: Self.startSecondsMax) else {
        try Task.checkCancellation()
        throw CommandFailure(
          .unreachable, "broker_failed",
          "the broker does not start; its last words (more in \(folder.logs)):\n\(folder.lastWords())")
      }
    } catch {
      await stop()
      throw error
    }
  }

  /// Waits until the node answers; false when it ended, the time is over or the task was cancelled.
  private func answers(_ record: BrokerRecord, seconds: Double) async -> Bool {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while ContinuousClock.now < deadline {
      if LoopbackPort.speaksAMQP(record.port) { return true }
      guard ProcessTable.isAlive(record.pid) else { return false }
      do {
        try await Task.sleep(for: Self.watchInterval)
      } catch {
        return false
      }
    }
    return false
  }

  private func isAlive(_ running: Running) -> Bool {
    running.child == nil ? running.record.isAlive : ProcessTable.isAlive(running.record.pid)
  }

  private func waitForEnd(_ running: Running, seconds: Double) async {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while isAlive(running), ContinuousClock.now < deadline { await Pause.uncancelled(.milliseconds(50)) }
  }

  /// Takes away what is left of an ended node: its port mapper, its zombie.
  private func collect() async {
    guard
      let current = running.withLock({ running in
        defer { running = nil }
        return running
      })
    else { return }
    _ = current.child?.pollEnd()
    guard let epmd = current.record.epmdPID, current.record.epmdIsAlive else { return }
    kill(epmd, SIGTERM)
    for _ in 0..<20 where ProcessTable.isAlive(epmd) { await Pause.uncancelled(.milliseconds(50)) }
    if ProcessTable.isAlive(epmd) { kill(epmd, SIGKILL) }
    _ = current.epmdChild?.pollEnd()
  }

  /// A port mapper of our own in the foreground; the node would start one as a daemon that nobody ends.
  private func startEPMD(port: Int, owner: BrokerOwner) -> SpawnedProcess? {
    let places = ["/usr/bin/epmd", "/usr/local/bin/epmd"]
    guard let program = places.first(where: { path in access(path, X_OK) == 0 }) else { return nil }
    let command = owner.command(program, ["-address", "127.0.0.1", "-port", String(port)])
    do {
      return try withLog { log in
        try SpawnedProcess.start(
          command.path, command.arguments, environment: ["PATH": Self.path, "LANG": "C.UTF-8"], descriptors: log,
          folder: folder.path)
      }
    } catch {
      // The node starts one by itself then.
      StandardError.say("\(error)")
      return nil
    }
  }

  private static let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

  private func environment(epmdPort: Int, distributionPort: Int) -> [String: String] {
    [
      "PATH": Self.path,
      "LANG": "C.UTF-8",
      "HOME": folder.home,
      // Makes the script become the node instead of waiting for it, so that its process id is the node's.
      "RUNNING_UNDER_SYSTEMD": "true",
      "ERL_EPMD_PORT": String(epmdPort),
      "ERL_EPMD_ADDRESS": "127.0.0.1",
      "ERL_CRASH_DUMP": folder.logs + "/erl_crash.dump",
      "RABBITMQ_CONF_ENV_FILE": "/dev/null",
      "RABBITMQ_NODENAME": "taskbridge@localhost",
      "RABBITMQ_CONFIG_FILE": folder.configuration,
      "RABBITMQ_ADVANCED_CONFIG_FILE": folder.path + "/advanced.config",
      "RABBITMQ_ENABLED_PLUGINS_FILE": folder.plugins,
      "RABBITMQ_MNESIA_BASE": folder.data,
      "RABBITMQ_MNESIA_DIR": folder.data + "/node",
      "RABBITMQ_LOG_BASE": folder.logs,
      "RABBITMQ_PID_FILE": folder.path + "/pid",
      "RABBITMQ_DIST_PORT": String(distributionPort),
      "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
        "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 -taskbridge \(folder.marker)",
    ]
  }

  /// Lends descriptors for a child: no input, both outputs into the start log.
  private func withLog<T>(_ body: (SpawnedProcess.Descriptors) throws -> T) throws -> T {
    let null = open("/dev/null", O_RDONLY | O_CLOEXEC)
    let log = open(folder.startLog, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
    defer {
      close(null)
      close(log)
    }
    guard null >= 0, log >= 0 else {
      throw CommandFailure(
        .unreachable, "broker_folder", "cannot write '\(folder.startLog)': \(String(cString: strerror(errno)))")
    }
    return try body(.init(input: null, output: log, error: log))
  }
}
