import ArgumentParser

/// `taskbridge schedules`: work that comes again by the clock.
struct SchedulesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedules", abstract: "Work that comes again: when an expression of cron runs.",
    subcommands: [SchedulesTestCommand.self])
}
