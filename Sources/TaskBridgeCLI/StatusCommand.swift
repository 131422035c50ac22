import ArgumentParser

/// `taskbridge status`: what a bridge is doing, in one call.
struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "What the bridge is doing: counts, task keys, broker, store.")

  @Option(help: "Only task keys of this domain.") var domain: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    var query = Query()
    query.add("domain", domain)
    let printer = client.printer
    let answer = try await client.client().get("/v1/snapshot", query)
    printer.one(answer.body, Self.properties)
    guard printer.format == .table else { return }
    let tasks = answer.json["tasks"]?.elements ?? []
    guard !tasks.isEmpty else { return }
    StandardOutput.write("\n")
    let table = Table(
      "TASK", "BLOCKED", "SCHEDULED", "READY", "QUEUED", "LAUNCHED", "RUNNING", "DEAD", "CONSUMERS", "OLDEST READY")
    printer.items(tasks, table) { table, task in
      table.add(
        task["key"]?.text, task["blocked"]?.text, task["scheduled"]?.text, task["ready"]?.text, task["queued"]?.text,
        task["launched"]?.text, task["running"]?.text, task["dead"]?.text, task["consumers"]?.text,
        task["oldest_ready_seconds"]?.double.map { "\(Int($0)) s" })
    }
  }

  private static func properties(_ snapshot: JSONSlice) -> Properties {
    var properties = Properties()
    properties.add("version", snapshot["version"]?.text)
    properties.add("at", snapshot["at"]?.text)
    let counts = (snapshot["counts"]?.members ?? []).filter { $0.value.int != 0 }
    properties.add("runs", counts.map { "\($0.key) \($0.value.text ?? "0")" }.joined(separator: ", "))
    let broker = snapshot["broker"]
    properties.add("broker", broker.map { brokerText($0) })
    properties.add(
      "outbox",
      snapshot["outbox"].map { outbox in
        "\(outbox["pending"]?.text ?? "0") pending"
          + (outbox["oldest_seconds"]?.double.map { ", oldest \(Int($0)) s" } ?? "")
      })
    properties.add(
      "store",
      snapshot["store"].map { store in
        "\(store["runs"]?.text ?? "?") runs, \(ByteCount.text(store["size_bytes"]?.int)), WAL "
          + "\(ByteCount.text(store["wal_bytes"]?.int))"
      })
    properties.add(
      "per second",
      snapshot["rates"].map { rates in
        ["submitted", "completed", "failed"].map { name in
          "\(name) \(JSONText.number(((rates["\(name)_per_second"]?.double ?? 0) * 10).rounded() / 10))"
        }.joined(separator: ", ")
      })
    properties.add("dead letters", snapshot["dead_letters"]?.text)
    properties.add("quarantined", snapshot["quarantined"]?.text)
    properties.add("next run at", snapshot["next_run_at"]?.text)
    return properties
  }

  private static func brokerText(_ broker: JSONSlice) -> String {
    let version = broker["version"]?.text.map { " (\($0))" } ?? ""
    guard broker["connected"]?.bool == true else { return "not connected" }
    return (broker["blocked"]?.bool == true ? "connected, blocked by the broker" : "connected") + version
  }
}

/// Sizes for people.
enum ByteCount {
  static func text(_ bytes: Int?) -> String {
    guard let bytes else { return "?" }
    let units = ["B", "KiB", "MiB", "GiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1_024, unit < units.count - 1 {
      value /= 1_024
      unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(units[unit])"
  }
}
