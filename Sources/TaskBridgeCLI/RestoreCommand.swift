import ArgumentParser
import Logging
import TaskBridgeCore
import TaskBridgeEngine

/// `taskbridge restore --plan`: what a start would do with the broker's queues.
struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Show what a start would do with the broker's queues.",
    discussion: """
      The restore itself is part of every start of "taskbridge serve". The plan changes nothing in store or broker; it \
      reads both, best while no bridge runs. Reports that wait in the broker are judged before the queues are looked at: \
      what they end is no longer expected then.
      """)

  @Flag(help: "Only show it.") var plan = false
  @OptionGroup var bridge: BridgeOptions
  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard plan else {
      throw ValidationError(
        "a restore is part of every start of \"taskbridge serve\"; \"taskbridge restore --plan\" shows what it would do"
      )
    }
  }

  func run() async throws {
    let configuration = try ConfigurationLoader(flags: bridge.flags).load().configuration
    let broker = try BrokerAccess.configuration(configuration, name: "taskbridge restore --plan")
    let plan: RestorePlan
    do {
      plan = try await RestorePlan.make(configuration, broker: broker, logger: Logger(label: "restore"))
    } catch {
      throw CommandFailure(
        ExitStatus(rawValue: error.exitCode) ?? .failed, "restore_plan_failed", Escaping.visible(error.message))
    }
    var json = JSONWriter()
    plan.write(to: &json)
    let printer = output.printer
    printer.page(json.bytes, Table("QUEUE~", "CASE", "EXPECTED", "STALE", "UNKNOWN", "READY", "CONSUMERS", "ACTION~")) {
      table, item in
      table.add(
        item["queue"]?.text, item["case"]?.text, item["expected"]?.text, item["stale"]?.text, item["unknown"]?.text,
        item["ready"]?.text, item["consumers"]?.text, item["action"]?.text)
    }
    if printer.format == .table { StandardError.say(Self.summary(plan)) }
  }

  private static func summary(_ plan: RestorePlan) -> String {
    let broker =
      switch plan.broker {
      case .same: "the broker is the one this store last worked with"
      case .fresh: "the broker has no marker of this store: it is new, or has lost its data"
      case .otherStore: "the broker carries the marker of another store: serve refuses it without --adopt-broker"
      case .newer:
        "the broker knows a later state of this store, a restored backup: serve refuses it without --accept-rollback"
      }
    return
      "\(broker); \(plan.events) report(s) and \(plan.returned) returned message(s) wait there and are judged first"
  }
}
