/// What a running bridge says.
enum BridgeChecks {
  /// A message that waits longer than this to be published is a sign of trouble.
  static let outboxSecondsMax = 60.0
  static let walWarningBytes = 64 << 20
  static let walAlarmBytes = 256 << 20

  struct Findings: Sendable {
    var checks: [DoctorCheck] = []
    /// Unresolved dead letters by task key, also where there are none; nil when the bridge could not be asked.
    var deadByTask: [String: Int]?
  }

  static func run(_ client: BridgeClient) async -> Findings {
    var findings = Findings()
    do {
      let ready = try await client.exchange("GET", "/readyz", timeoutSeconds: HealthcheckCommand.timeoutSeconds)
      findings.checks.append(
        ready.status == 200
          ? .ok("bridge", "\(client.base) is ready")
          : .failed("bridge", "\(client.base) is not ready: \(HealthcheckCommand.reason(ready))", "see its log"))
      let snapshot = try await client.get("/v1/snapshot").json
      findings.checks += look(at: snapshot)
      let tasks = snapshot["tasks"]?.elements ?? []
      findings.deadByTask = tasks.reduce(into: [:]) { counts, task in
        if let key = task["key"]?.string { counts[key] = task["dead"]?.int ?? 0 }
      }
    } catch let failure as CommandFailure {
      findings.checks.append(.failed("bridge", failure.message, nil))
    } catch {
      findings.checks.append(.failed("bridge", "\(error)", nil))
    }
    return findings
  }

  private static func look(at snapshot: JSONSlice) -> [DoctorCheck] {
    var checks: [DoctorCheck] = []
    if snapshot["broker"]?["connected"]?.bool == false {
      checks.append(
        .failed("bridge_broker", "the bridge is not connected to its broker", "see the check `broker`, and its log"))
    }
    if snapshot["broker"]?["blocked"]?.bool == true {
      checks.append(
        .failed("bridge_broker", "the broker takes no messages (alarm)", "free memory or disk of the broker"))
    }
    if let synchronous = snapshot["store"]?["synchronous"]?.text {
      checks.append(
        synchronous.lowercased() == "full"
          ? .ok("durability", "synchronous=FULL")
          : .warning("durability", "synchronous=\(synchronous)", "the last commits may be lost at power loss"))
    }
    if let bytes = snapshot["store"]?["wal_bytes"]?.int {
      let text = "the WAL has \(ByteCount.text(bytes))"
      let step = "end foreign readers of the store's file"
      checks.append(
        bytes > walAlarmBytes
          ? .failed("wal", text, step) : bytes > walWarningBytes ? .warning("wal", text, step) : .ok("wal", text))
    }
    if let pending = snapshot["outbox"]?["pending"]?.int {
      let oldest = snapshot["outbox"]?["oldest_seconds"]?.double ?? 0
      checks.append(
        oldest > outboxSecondsMax
          ? .failed(
            "outbox", "\(pending) messages wait, the oldest for \(Int(oldest)) s",
            "see the check `broker`: alarm, permission or queue limit")
          : .ok("outbox", "\(pending) messages wait"))
    }
    for task in snapshot["tasks"]?.elements ?? [] {
      let waiting = (task["ready"]?.int ?? 0) + (task["launched"]?.int ?? 0)
      if waiting > 0, task["consumers"]?.int == 0 {
        checks.append(
          .warning(
            "consumers", "\(task["key"]?.text ?? "?"): \(waiting) runs wait and nobody works", "start workers for it"))
      }
    }
    if let count = snapshot["quarantined"]?.int, count > 0 {
      checks.append(.warning("quarantine", "\(count) messages", "taskbridge quarantine"))
    }
    return checks
  }
}
