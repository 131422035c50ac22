import Foundation
import TaskBridgeCore

extension DueRow {
  static let standardSchedules = 1_000
  /// Most schedules that are added in a second, a careful guess.
  static let addedPerSecond = 100.0

  /// Schedules of a minute that all have the same first time, and how late their runs reach a worker.
  static func measureSchedules(
    _ count: Int, rate: Double, bridge: BridgeProcess, broker: BenchBroker
  ) async throws -> Lateness {
    let due = Date().addingTimeInterval((Double(count) / addedPerSecond + restSeconds + 1).rounded(.up))
    let dueAt = ContinuousClock.now + .seconds(due.timeIntervalSinceNow)
    let first = Timestamp(milliseconds: Int64((due.timeIntervalSince1970 * 1_000).rounded())).description
    for number in 0..<count {
      let answer = try await HTTPProbe.call(
        "POST", port: bridge.httpPort, "/v1/schedules",
        body: Array(
          #"{"name":"bench-\#(number)","task":"\#(task)","payload":1,"every_seconds":60,"starts_at":"\#(first)"}"#.utf8)
      )
      guard answer.status == 201 else {
        throw BenchError("a schedule was answered \(answer.status): \(String(decoding: answer.body, as: UTF8.self))")
      }
    }
    guard .now + .seconds(restSeconds / 2) < dueAt else {
      throw BenchError("adding \(count) schedules took longer than their delay")
    }
    let lateness = Lateness(dueAt: dueAt, rate: rate)
    let worker = try await LoadWorker(broker, bridge.names, tasks: [task]) { batch, now in
      lateness.arrived(batch.count, now)
    }
    try await worker.work(count)
    await worker.close()
    return lateness
  }
}
