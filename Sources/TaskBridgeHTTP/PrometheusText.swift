import TaskBridgeCore
import TaskBridgeEngine

/// A snapshot in the text format of Prometheus (version 0.0.4). Labels never hold run ids.
struct PrometheusText {
  private(set) var text = ""

  init(_ snapshot: SnapshotView, readiness: Readiness) {
    family("taskbridge_runs", "Runs in the store by task key and state.") { family in
      for line in snapshot.tasks {
        for state in RunState.allCases {
          if let count = line.counts[state], count != 0 {
            family.sample(Double(count), [("task", line.key.rawValue), ("state", state.rawValue)])
          }
        }
      }
    }
    family("taskbridge_dead_letters", "Unresolved dead letters by task key.") { family in
      for line in snapshot.tasks where line.dead > 0 { family.sample(Double(line.dead), [("task", line.key.rawValue)]) }
    }
    family("taskbridge_oldest_ready_seconds", "How long the oldest ready run of a task key waits.") { family in
      for line in snapshot.tasks {
        if let since = line.readySince {
          family.sample(max(0, snapshot.at.seconds(since: since)), [("task", line.key.rawValue)])
        }
      }
    }
    family("taskbridge_schedules", "Schedules by how they stand.") { family in
      let counts = snapshot.scheduleCounts
      for (state, count) in [("active", counts.active), ("paused", counts.paused), ("ended", counts.ended)] {
        family.sample(Double(count), [("state", state)])
      }
    }
    let oldest = snapshot.outboxOldest.map { max(0, snapshot.at.seconds(since: $0)) } ?? 0
    gauge("taskbridge_outbox_pending", "Messages the broker has not confirmed.", Double(snapshot.outboxPending))
    gauge("taskbridge_outbox_oldest_seconds", "How long the oldest of them waits.", oldest)
    gauge("taskbridge_quarantined", "Messages that could not be understood.", Double(snapshot.quarantined))
    gauge("taskbridge_ready", "1 when the bridge does its whole work.", readiness.isReady ? 1 : 0)
    gauge("taskbridge_broker_connected", "1 while the broker is connected.", snapshot.broker.connected ? 1 : 0)
    gauge("taskbridge_broker_blocked", "1 while the broker has stopped publishers.", snapshot.broker.blocked ? 1 : 0)
    gauge("taskbridge_store_bytes", "Size of the store's file.", Double(snapshot.storeSizeBytes))
    gauge("taskbridge_store_wal_bytes", "Size of the store's write-ahead log.", Double(snapshot.storeWALBytes))
  }

  /// Lines of one metric.
  struct Family {
    fileprivate let name: String
    fileprivate var lines = ""

    mutating func sample(_ value: Double, _ labels: [(name: String, value: String)] = []) {
      let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
      lines += "\(name)\(list.isEmpty ? "" : "{\(list)}") \(value)\n"
    }

    private static func escaped(_ text: String) -> String {
      text.reduce(into: "") { result, character in
        switch character {
        case "\\": result += "\\\\"
        case "\"": result += "\\\""
        case "\n": result += "\\n"
        default: result.append(character)
        }
      }
    }
  }

  private mutating func family(_ name: String, _ help: String, _ body: (inout Family) -> Void) {
    var family = Family(name: name)
    body(&family)
    text += "# HELP \(name) \(help)\n# TYPE \(name) gauge\n\(family.lines)"
  }

  private mutating func gauge(_ name: String, _ help: String, _ value: Double) {
    family(name, help) { $0.sample(value) }
  }
}
