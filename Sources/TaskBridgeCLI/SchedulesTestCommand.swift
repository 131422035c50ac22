public import ArgumentParser
import Foundation
public import TaskBridgeCore
import TaskBridgeEngine

/// `taskbridge schedules test`: the coming times of an expression that is stored nowhere.
struct SchedulesTestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "test",
    abstract: "Show the coming times of an expression of cron; needs no bridge.",
    discussion: """
      Five fields (minute, hour, day of month, month, day of week), six with the second first, or a word such as \
      @daily. Prints each time in UTC and in the zone, with a note where the clocks are moved.
      With --stdin it reads one JSON object per line, the fields of a schedule with `after` and `count`, and prints \
      one answer per line.
      """)

  @Argument(help: "Expression in quotation marks, such as \"30 2 * * 1-5\".")
  var cron: String?

  @Option(help: ArgumentHelp("IANA time zone, such as Europe/Berlin.", valueName: "zone"))
  var timezone = "UTC"

  @Option(
    help: ArgumentHelp("First time after this one, which is not shown; default: now.", valueName: "time"),
    transform: ArgumentReader.time)
  var after: String?

  @Option(help: "How many times, 1...1000.")
  var count = ScheduleRule.forecastCountDefault

  @Option(help: "What to do with local times that the clocks jump over.")
  var dstGap = DSTGap.runAfter

  @Option(help: "When to run at local times that come twice.")
  var dstOverlap = DSTOverlap.first

  @Flag(help: "Read cases from stdin, one JSON object per line.")
  var stdin = false

  @OptionGroup var output: OutputOptions

  func validate() throws {
    guard (cron == nil) == stdin else {
      throw ValidationError("give an expression in quotation marks, or --stdin")
    }
    guard ScheduleForecast.countRange.contains(count) else {
      throw ValidationError("--count \(count) is out of range: 1...1000")
    }
  }

  func run() async throws {
    let now = Timestamp(milliseconds: Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)))
    if stdin { return try Self.answerLines(now: now) }
    let forecast: ScheduleForecast
    do {
      forecast = try ScheduleForecast(given, now: now)
    } catch {
      throw CommandFailure(.usage, error.code, error.detail)
    }
    var json = JSONWriter()
    forecast.write(to: &json)
    output.printer.page(json.bytes, SchedulesNextCommand.table, fill: SchedulesNextCommand.add)
    if forecast.items().count < forecast.count { StandardError.say("no further time follows") }
  }

  /// The options as the fields of a schedule.
  private var given: JSONObject {
    var object = JSONObject()
    func add(_ key: String, _ value: String?) {
      if let value { object.members.append(.init(key: key, value: .string(value))) }
    }
    add("cron", cron)
    add("timezone", timezone)
    add("after", after)
    add("dst_gap", dstGap.rawValue)
    add("dst_overlap", dstOverlap.rawValue)
    object.members.append(.init(key: "count", value: .number(JSONNumber(count))))
    return object
  }

  /// One answer per line of stdin: `{"items":[…]}`, or a problem. Ends with status 1 when there was a problem.
  private static func answerLines(now: Timestamp) throws {
    let bytes = try FileReading.bytes(of: .standardInput, name: "stdin", atMost: PayloadSource.bytesMax)
    var refused = 0
    for line in bytes.split(separator: UInt8(ascii: "\n")) {
      var json = JSONWriter()
      do {
        try ScheduleForecast(line: Array(line), now: now).write(to: &json)
      } catch {
        refused += 1
        error.write(to: &json)
      }
      StandardOutput.writeLine(json.bytes)
    }
    if refused > 0 { throw CommandFailure(.failed, "refused", "\(refused) of the cases were refused") }
  }
}

extension DSTGap: ExpressibleByArgument {}
extension DSTOverlap: ExpressibleByArgument {}
extension ScheduleRule.IntervalMode: ExpressibleByArgument {}
extension ScheduleRule.CatchUp: ExpressibleByArgument {}
extension ScheduleRule.Overlap: ExpressibleByArgument {}
