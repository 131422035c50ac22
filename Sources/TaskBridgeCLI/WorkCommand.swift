import ArgumentParser
import Foundation
import Logging
import TaskBridgeEngine

/// `taskbridge work`: any command as a worker.
struct WorkCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "work", abstract: "Do the runs of task keys with a command.",
    discussion: """
      The payload comes on stdin; stdout is the result (JSON, else a string, at most 1 MiB); status 0 is success. Any \
      other status fails the attempt with type exit_<status> and the end of stderr. The command runs under /bin/sh -c \
      with TASKBRIDGE_RUN_ID, TASKBRIDGE_ATTEMPT, TASKBRIDGE_TASK and TASKBRIDGE_TOKEN. When a run is cancelled the \
      command gets SIGINT and 10 s later SIGKILL. SIGTERM finishes what runs; a second one ends it.
      """)

  @Argument(help: "Task keys.", transform: ArgumentReader.task) var tasks: [String]

  @Option(help: ArgumentHelp("Command for each run.", valueName: "cmd")) var exec: String

  @Option(name: [.customShort("j"), .long], help: "Runs at once, 1...1000.") var parallel = 1

  @Option(help: ArgumentHelp("URL of the broker (TASKBRIDGE_AMQP_URL).", valueName: "url")) var amqp: String?

  @Option(help: ArgumentHelp("Configuration file (TASKBRIDGE_CONFIG).", valueName: "file")) var config: String?

  @Option(help: "What this worker is called in the history of its runs; host and process when left out.") var worker:
    String?

  @Option(help: ArgumentHelp("trace, debug, info, notice, warning, error or critical.", valueName: "level"))
  var logLevel: String?

  func validate() throws {
    guard !tasks.isEmpty else { throw ValidationError("name at least one task key") }
    guard (1...1_000).contains(parallel) else {
      throw ValidationError("-j \(parallel) is out of range: 1...1000")
    }
    guard !exec.isEmpty else { throw ValidationError("--exec needs a command") }
  }

  func run() async throws {
    var flags = ConfigurationLoader.Flags()
    flags.configurationFile = config
    flags.values["amqp_url"] = amqp
    flags.values["log_level"] = logLevel
    let effective = try ConfigurationLoader(flags: flags).load()
    LineLogHandler.bootstrap(level: effective.configuration.logLevel)
    for warning in effective.warnings { StandardError.say("warning: \(warning)") }

    let node = ProcessInfo.processInfo.hostName
    let identity = worker ?? "\(node):\(getpid())"
    let keys = tasks.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
    let settings = Worker.Settings(
      broker: try BrokerAccess.configuration(effective.configuration, name: "taskbridge work \(identity)"),
      prefix: effective.configuration.prefix, tasks: keys, command: exec, parallel: parallel, worker: identity,
      node: node,
      environment: ProcessInfo.processInfo.environment)
    let prefetch = Worker.prefetch(parallel: parallel, queues: keys.count)
    let ledger = RunLedger(slots: parallel, prefetch: prefetch * keys.count)
    let stop = StopSignals.latch { ledger.killAll() }
    await withTaskGroup(of: Void.self) { beside in
      beside.addTask {
        guard await stop.wait() != nil else { return }
        let count = ledger.runningCount
        StandardError.say(count == 0 ? "stopping" : "stopping after \(count) run(s); a second signal ends them")
      }
      await Worker(settings, ledger: ledger, prefetch: prefetch, stop: stop, logger: Logger(label: "work")).run()
      beside.cancelAll()
    }
  }
}
