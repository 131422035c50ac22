import TaskBridgeCore
import TaskBridgeEngine

/// The coming times of a schedule that is stored nowhere.
struct ScheduleForecast: Sendable {
  static let countRange = 1...ScheduleRule.forecastCountMax

  var rule: ScheduleRule
  var after: Timestamp
  var count: Int

  /// - Parameters:
  ///   - object: the fields of a schedule, `after` (default: `now`; an interval counts from there) and `count`.
  /// - Throws: 422 with every fault.
  init(
    _ object: JSONObject, now: Timestamp, zones: TimeZoneDatabase = .system
  ) throws(Problem) {
    let fields = ScheduleFields(object)
    var faults = fields.faults
    after = now
    count = ScheduleRule.forecastCountDefault
    for member in object.members where !ScheduleFields.names.contains(member.key) {
      switch member.key {
      case "after":
        if let time = member.value.stringValue.flatMap({ try? Timestamp(rfc3339: $0) }) {
          after = time
        } else {
          faults.append(Fault(pointer: "/after", detail: "needed is a time with its zone, as 2026-11-20T23:39:00Z"))
        }
      case "count":
        if let count = member.value.int64Value.map(Int.init), Self.countRange.contains(count) {
          self.count = count
        } else {
          faults.append(Fault(pointer: "/count", detail: "needed is a number of 1 to \(Self.countRange.upperBound)"))
        }
      default:
        faults.append(Fault(pointer: "/\(member.key)", detail: "this field is not known", code: "unknown_field"))
      }
    }
    var zone = TimeZoneRules.utc
    do {
      zone = try zones.zone(named: fields.timezone)
    } catch {
      faults.append(Fault(pointer: "/timezone", detail: error.description, code: error.code.rawValue))
    }
    guard faults.isEmpty, let rule = fields.rule(in: zone, createdAt: after) else {
      let first = faults.first { $0.code != "invalid_field" } ?? faults.first
      throw Problem(
        422, first?.code ?? "invalid_field", first.map { "\($0.pointer.dropFirst()): \($0.detail)" } ?? "no schedule",
        errors: faults)
    }
    self.rule = rule
  }

  /// - Parameter line: JSON.
  init(line: [UInt8], now: Timestamp) throws(Problem) {
    let value: JSONValue
    do {
      value = try JSONValue.parse(line)
    } catch {
      throw Problem(error, in: "the line")
    }
    guard case .object(let object) = value else {
      throw Problem(422, "invalid_field", "\(value.kind) is no case; a case is an object such as {\"cron\":\"@daily\"}")
    }
    try self.init(object, now: now)
  }

  /// The next ``count`` times; fewer when the schedule ends before.
  func items() -> [Occurrence] { rule.forecast(after: after, count: count) }
}

extension ScheduleForecast: JSONWritable {
  func write(to json: inout JSONWriter) {
    json.object { json in json.member("items", array: items()) }
  }
}
