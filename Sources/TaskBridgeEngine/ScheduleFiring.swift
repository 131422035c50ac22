import TaskBridgeCore
import TaskBridgeStore

/// One round of firing schedules.
struct ScheduleFiring: Sendable {
  let support: ScheduleSupport
  /// Nothing could fire until now.
  let isFirst: Bool

  func run(_ transaction: Transaction, now: Timestamp) throws(StoreError) -> FiredSchedules {
    if isFirst { try transaction.missSchedules(through: now) }
    return try transaction.fireSchedules(now: now, runsMax: Timekeeper.firedMax, support: support)
  }
}

extension Timekeeper {
  /// Nil before the first restore is done, and while the backlog is full: schedules are late then, not lost.
  func firing() -> ScheduleFiring? {
    guard bridge.state.hasRestored, bridge.store.backlog < bridge.configuration.backlogLimit else { return nil }
    return ScheduleFiring(support: bridge.scheduleSupport(), isFirst: !bridge.state.firesSchedules)
  }
}

extension BridgeContext {
  /// What the store cannot know by itself about schedules.
  func scheduleSupport() -> ScheduleSupport {
    let zone = zoneLookup
    return ScheduleSupport(
      isOn: state.firesSchedules,
      definition: { text, payload, createdAt in
        Result { () throws(Problem) in
          try ScheduleDefinition(text: text, payload: payload, createdAt: createdAt, zone: zone)
        }
      },
      prepare: { submission, now in
        Result { () throws(Problem) in try self.prepare(submission, now: now) }
      })
  }

  /// The time zones of this machine; an unknown one is a fault of the field `timezone`.
  var zoneLookup: ScheduleDefinition.ZoneLookup {
    { [zones] name in
      do throws(TimeZoneError) {
        return .success(try zones.zone(named: name))
      } catch {
        return .failure(Fault(pointer: "/timezone", detail: error.description, code: error.code.rawValue))
      }
    }
  }
}
