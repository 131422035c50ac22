import ArgumentParser
import Foundation

/// `taskbridge`: one program for the bridge, its client, its worker and its operator.
@main
struct TaskBridgeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "taskbridge",
    abstract: "Task runs that survive: a store that decides, a RabbitMQ that carries.",
    discussion: """
      Exit status: 0 ok, 1 failed, 2 --wait ended without success or in time, 3 not found, 4 conflict, \
      5 store, broker or server unreachable, 6 not allowed, 64 usage.
      """,
    version: ProgramVersion.text,
    groupedSubcommands: [
      CommandGroup(name: "Run the bridge", subcommands: [ServeCommand.self, DevCommand.self]),
      CommandGroup(
        name: "Runs",
        subcommands: [
          SubmitCommand.self, RunsCommand.self, ShowCommand.self, ExplainCommand.self, CancelCommand.self,
          RetryCommand.self, AuditCommand.self,
        ]),
      CommandGroup(name: "Schedules", subcommands: [SchedulesCommand.self]),
      CommandGroup(name: "Work", subcommands: [WorkCommand.self]),
      CommandGroup(
        name: "Operate",
        subcommands: [
          StatusCommand.self, TasksCommand.self, GroupsCommand.self, PauseCommand.self, ResumeCommand.self,
          DeadLettersCommand.self, JobsCommand.self, QuarantineCommand.self, DoctorCommand.self,
          RestoreCommand.self, PruneCommand.self, HealthcheckCommand.self, ConfigCommand.self,
        ]),
    ])

  static func main() async {
    ProcessSetup.prepare()
    let arguments = ArgumentRewriter.rewritten(Array(CommandLine.arguments.dropFirst()))
    do {
      var command = try parseAsRoot(arguments)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let failure as CommandFailure {
      end(with: failure, arguments: arguments)
    } catch {
      if exitCode(for: error) == .validationFailure, ArgumentRewriter.asksForJSON(arguments) {
        end(with: .usage(message(for: error)), arguments: arguments)
      }
      exit(withError: error)
    }
  }

  private static func end(with failure: CommandFailure, arguments: [String]) -> Never {
    if ArgumentRewriter.asksForJSON(arguments) {
      StandardOutput.writeLine(failure.json)
    } else {
      StandardError.say("taskbridge: \(failure.message)")
    }
    exit(withError: failure.status.code)
  }
}

/// What this program calls itself.
enum ProgramVersion {
  static let text = "0.1.0"
}

/// Puts the process into a state the rest relies on.
enum ProcessSetup {
  static func prepare() {
    // A reader that goes away is an error of write(2), not the end of the process.
    signal(SIGPIPE, SIG_IGN)
    // With a standard descriptor closed, the next file opened would take its number and receive our words.
    for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
      _ = open("/dev/null", O_RDWR)
    }
  }
}
