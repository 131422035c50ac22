import ArgumentParser
import TaskBridgeCore
import TaskBridgeEngine

/// `taskbridge config`: what the bridge would start with.
struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Check or show the configuration the bridge would start with.",
    subcommands: [Check.self, Show.self])

  struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Check it; status 64 names every fault with its place.")

    @OptionGroup var bridge: BridgeOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
      let effective = try ConfigurationLoader(flags: bridge.flags).load()
      for warning in effective.warnings { StandardError.say("warning: \(warning)") }
      var properties = JSONObjectText()
      properties.add("ok", true)
      properties.add("file", effective.file)
      properties.add("warnings", raw: JSONText.array(effective.warnings.map { JSONText.quoted($0) }).utf8)
      output.printer.one(properties.bytes) { _ in
        var shown = Properties()
        shown.add("configuration", "ok")
        shown.add("file", effective.file ?? "none")
        return shown
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show every value with its origin, without secrets.")

    @OptionGroup var bridge: BridgeOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
      let effective = try ConfigurationLoader(flags: bridge.flags).load()
      let items = ConfigurationView.items(effective).map { item in
        var object = JSONObjectText()
        object.add("key", item.key)
        object.add("value", item.value)
        object.add("origin", item.origin)
        return String(decoding: object.bytes, as: UTF8.self)
      }
      let page = Array(#"{"items":\#(JSONText.array(items)),"next_cursor":null}"#.utf8)
      output.printer.page(page, Table("KEY", "VALUE", "ORIGIN")) { table, item in
        table.add(item["key"]?.text, item["value"]?.text, item["origin"]?.text)
      }
    }
  }
}

/// The effective configuration as lines.
enum ConfigurationView {
  struct Item: Equatable, Sendable {
    var key: String
    var value: String
    var origin: String
  }

  static func items(_ effective: ConfigurationLoader.Effective) -> [Item] {
    func item(_ key: String, _ value: String, _ originKey: String? = nil) -> Item {
      Item(key: key, value: value, origin: (effective.origins[originKey ?? key] ?? .standard).description)
    }
    let configuration = effective.configuration
    var items = Setting.all.map { item($0.key, $0.show(configuration)) }
    let retry = configuration.retry
    items += [
      item("retry.strategy", retry.strategy.rawValue, "retry"),
      item("retry.initial_seconds", JSONText.number(retry.initialSeconds), "retry"),
      item("retry.increment_seconds", JSONText.number(retry.incrementSeconds), "retry"),
      item("retry.multiplier", JSONText.number(retry.multiplier), "retry"),
      item("retry.max_seconds", JSONText.number(retry.maxSeconds), "retry"),
      item("retry.delays_seconds", delays(retry.delaysSeconds), "retry"),
    ]
    for (task, settings) in configuration.tasks.sorted(by: { $0.key < $1.key }) {
      for (name, value) in values(of: settings) {
        let key = "tasks.\(task).\(name)"
        items.append(item(key, value, effective.origins[key] == nil ? "tasks.\(task)" : key))
      }
    }
    return items
  }

  private static func delays(_ delays: [Double]?) -> String {
    delays.map { $0.map { JSONText.number($0) }.joined(separator: ", ") } ?? ""
  }

  /// What is set for a task key.
  private static func values(of settings: TaskSettings) -> [(String, String)] {
    var values: [(String, String?)] = [
      ("wire", settings.wire.rawValue),
      ("queue_type", settings.queueType?.rawValue),
      ("queue_bound", settings.queueBound.map { String($0) }),
      ("concurrency_limit", settings.concurrencyLimit.map { String($0) }),
      ("rate_per_second", settings.ratePerSecond.map { JSONText.number($0) }),
      ("rate_burst", settings.rateBurst.map { String($0) }),
      ("order", settings.order?.rawValue),
      (
        "aging",
        settings.aging.map { "after \($0.graceSeconds) s, one step each \($0.intervalSeconds) s, up to \($0.ceiling)" }
      ),
      ("lease_seconds", settings.leaseSeconds.map { String($0) }),
      ("max_attempts", settings.maxAttempts.map { String($0) }),
      ("max_lost", settings.maxLost.map { String($0) }),
      ("payload_limit_bytes", settings.payloadLimitBytes.map { String($0) }),
      ("disabled", settings.disabled ? "true" : nil),
      (
        "retry",
        settings.retry.map {
          "\($0.strategy.rawValue), from \(JSONText.number($0.initialSeconds)) s to \(JSONText.number($0.maxSeconds)) s"
        }
      ),
    ]
    values += settings.resourceLimits.sorted { $0.key < $1.key }.map {
      ("resource_limits.\($0.key)", JSONText.number($0.value))
    }
    return values.compactMap { name, value in value.map { (name, $0) } }
  }
}
