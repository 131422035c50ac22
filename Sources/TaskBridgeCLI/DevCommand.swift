import ArgumentParser
import Foundation
import TaskBridgeEngine

/// `taskbridge dev`: the bridge with a RabbitMQ of its own.
struct DevCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dev", abstract: "Run the bridge with a private RabbitMQ, for trying and developing.",
    discussion: """
      Everything lies under ./.taskbridge (--data), listens on loopback and is stopped on exit; the broker's logs stay \
      in broker/log. A broker that died is started again on its port; its address is in broker.json.
      """)

  static let standardFolder = ".taskbridge"

  @Option(help: ArgumentHelp("Configuration file (TASKBRIDGE_CONFIG).", valueName: "file")) var config: String?
  @Option(help: ArgumentHelp("Folder of store and broker.", valueName: "dir")) var data: String?
  @Option(help: ArgumentHelp("Address to listen on (TASKBRIDGE_HTTP).", valueName: "host:port")) var http: String?
  @Option(help: "Port of the broker on 127.0.0.1; any free one when left out.") var amqpPort: Int?
  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: String?

  func validate() throws {
    if let amqpPort, !(1...65_535).contains(amqpPort) {
      throw ValidationError("--amqp-port \(amqpPort) is out of range: 1...65535")
    }
  }

  func run() async throws {
    var effective = try effectiveConfiguration()
    LineLogHandler.bootstrap(level: effective.configuration.logLevel)
    try DescriptorLimit.raise()
    let folder = effective.configuration.dataDirectory
    try makeFolder(folder)
    let lock = try DevLock(folder: folder)
    defer { lock.release() }
    let broker = try PrivateBroker(dataFolder: folder, port: amqpPort)
    let stop = StopSignals.latch { broker.killNow() }

    StandardError.say("starting a private RabbitMQ in \(broker.folder.path) …")
    guard try await start(broker, unless: stop) else { return }
    effective.configuration.amqpURL = broker.url ?? effective.configuration.amqpURL
    do {
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        tasks.addTask { try await broker.supervise() }
        let configuration = effective.configuration
        tasks.addTask {
          try await BridgeRunner.run(configuration, stop: stop) { address in
            Self.greet(address, broker: configuration.amqpURL, logs: broker.folder.logs)
          }
        }
        // Supervision ends only by being cancelled, so the first end is the bridge's.
        defer { tasks.cancelAll() }
        try await tasks.next()
      }
    } catch {
      await broker.stop()
      throw error
    }
    StandardError.say("stopping the broker …")
    await broker.stop()
  }

  /// Starts the broker; false when a signal came first, and then nothing is left running.
  private func start(_ broker: PrivateBroker, unless stop: StopLatch) async throws -> Bool {
    try await withThrowingTaskGroup(of: Bool.self) { tasks in
      tasks.addTask {
        try await broker.start()
        return true
      }
      tasks.addTask { await stop.wait() == nil }
      let isStarted = try await tasks.next() ?? false
      tasks.cancelAll()
      if !isStarted {
        // The start undoes itself when it is cancelled; what it throws then is not news.
        while let result = await tasks.nextResult() {
          if case .success(true) = result { await broker.stop() }
        }
      }
      return isStarted
    }
  }

  private func effectiveConfiguration() throws -> ConfigurationLoader.Effective {
    var flags = ConfigurationLoader.Flags()
    flags.configurationFile = config
    flags.values = ["data_directory": data, "http": http, "log_level": logLevel].compactMapValues { $0 }
    var effective = try ConfigurationLoader(flags: flags).load()
    if effective.origins["data_directory"] == nil { effective.configuration.dataDirectory = Self.standardFolder }
    // The broker is ours: whatever was configured for another does not hold.
    effective.configuration.amqpPasswordFile = nil
    effective.configuration.amqpCAFile = nil
    effective.configuration.amqpCertificateFile = nil
    effective.configuration.amqpKeyFile = nil
    return effective
  }

  private func makeFolder(_ path: String) throws {
    do {
      // Searchable by the broker's user, listable by nobody else; the store itself is 0600.
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
    } catch {
      throw CommandFailure(
        .unreachable, "data_folder",
        "cannot make the folder '\(Escaping.visible(path))': \((error as NSError).localizedDescription); choose "
          + "another with --data"
      )
    }
  }

  private static func greet(_ address: BridgeAddress, broker: String, logs: String) {
    let url = address.url == BridgeClient.defaultURL ? "" : " --url \(address.url)"
    StandardError.say(
      """
      broker   \(broker)   (logs in \(logs))
      bridge   \(address.url)
      a worker taskbridge work hello --exec cat --amqp '\(broker)'
      a run    taskbridge submit hello '{"name":"world"}' --wait=30s\(url)
      Ctrl-C stops both.
      """)
  }
}

/// Keeps a second `dev` out of a folder: it would stop the first one's broker when it ends.
struct DevLock {
  private let descriptor: Int32

  /// - Throws: `CommandFailure` with status 5 that names the process that holds the folder.
  init(folder: String) throws {
    let path = folder + "/dev.lock"
    descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw CommandFailure(.unreachable, "data_folder", "cannot write '\(path)': \(String(cString: strerror(errno)))")
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let holder = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
      close(descriptor)
      throw CommandFailure(
        .unreachable, "in_use",
        "'\(Escaping.visible(folder))' is used by another taskbridge dev (pid "
          + "\(Escaping.visible(holder.prefix(20)))): stop it, or choose another folder with --data"
      )
    }
    ftruncate(descriptor, 0)
    let pid = Array(String(getpid()).utf8)
    _ = write(descriptor, pid, pid.count)
  }

  func release() { close(descriptor) }
}
