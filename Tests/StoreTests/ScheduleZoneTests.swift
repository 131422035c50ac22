import Foundation
import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Real fires in a zone that moves its clocks: the store is asked each half hour, as a running bridge would be.
@Suite struct ScheduleZoneTests {
  private static let berlin: ScheduleDefinition.ZoneLookup = { name in
    let path = "/usr/share/zoneinfo/\(name)"
    let fault = Fault(pointer: "/timezone", detail: "\(path) cannot be read")
    guard let data = FileManager.default.contents(atPath: path) else { return .failure(fault) }
    do {
      return .success(try TimeZoneRules(name: name, tzif: Array(data)))
    } catch {
      return .failure(fault)
    }
  }

  private static let support = ScheduleSupport(
    isOn: true,
    definition: { text, payload, createdAt in
      Result { () throws(Problem) in
        try ScheduleDefinition(text: text, payload: payload, createdAt: createdAt, zone: berlin)
      }
    }, prepare: { submission, _ in .success(TestStore.prepared(submission)) })

  @Test(
    "N33, N34: over both changes of a year the real fires are those of the forecast",
    arguments: [
      (#""dst_gap":"run_after""#, "2027-03-26T12:00:00Z", "01:30 01:00 00:30 00:30"),
      (#""dst_gap":"skip""#, "2027-03-26T12:00:00Z", "01:30 00:30 00:30 00:30"),
      (#""dst_overlap":"first""#, "2027-10-29T12:00:00Z", "00:30 00:30 01:30 01:30"),
      (#""dst_overlap":"second""#, "2027-10-29T12:00:00Z", "00:30 01:30 01:30 01:30"),
      (#""dst_overlap":"both""#, "2027-10-29T12:00:00Z", "00:30 00:30 01:30 01:30"),
    ])
  func theRealFiresAreThoseOfTheForecast(field: String, start: String, times: String) async throws {
    let start = try Timestamp(rfc3339: start)
    let definition = try ScheduleDefinition(
      body: Array(
        #"{"name":"s","task":"t","cron":"30 2 * * *","timezone":"Europe/Berlin",\#(field)}"#.utf8),
      createdAt: start, zone: Self.berlin)
    try await withTemporaryStore { test in
      _ = try await test.store.write { tx throws(StoreError) in try tx.add(definition, now: start) }.get()
      var now = start
      while try await test.runs().count < 4 {
        now = now.adding(seconds: 1_800)
        let moment = now
        _ = try await test.store.write { tx throws(StoreError) in
          try tx.fireSchedules(now: moment, runsMax: 100, support: Self.support)
        }
      }

      let fired = try await test.runs().compactMap(\.nominalAt)
      #expect(fired == definition.rule.forecast(after: start, count: 4).map(\.at))
      #expect(fired.map { String($0.description.dropFirst(11).prefix(5)) }.joined(separator: " ") == times)
      let notes = try await test.scheduleView().recent?.compactMap(\.note) ?? []
      #expect(!notes.isEmpty, "what the change of the clocks did is kept with the time")
    }
  }
}
