import Testing

@testable import TaskBridgeCore

/// The time fields of a schedule as JSON (contract §3.5; bad input 51 and 52).
@Suite struct ScheduleFieldsTests {
  private func fields(_ text: String) throws -> ScheduleFields {
    guard case .object(let object) = try JSONValue.parse(text) else { return ScheduleFields(JSONObject()) }
    return ScheduleFields(object)
  }

  @Test func everyFieldIsRead() throws {
    let fields = try fields(
      """
      {"name":"n","cron":"30 2 * * *","timezone":"Europe/Berlin","starts_at":"2026-11-20T00:00:00Z",
       "ends_at":"2027-11-20T00:00:00Z","max_runs":7,"dst_gap":"skip","dst_overlap":"both","catch_up":"all",
       "catch_up_limit":5,"overlap":"skip","mode":null}
      """)
    let rule = fields.rule(in: .utc, createdAt: Timestamp(milliseconds: 0))

    #expect(fields.timezone == "Europe/Berlin")
    #expect(
      rule
        == ScheduleRule(
          .cron(try CronExpression("30 2 * * *")), startsAt: try Timestamp(rfc3339: "2026-11-20T00:00:00Z"),
          endsAt: try Timestamp(rfc3339: "2027-11-20T00:00:00Z"), maxRuns: 7, dstGap: .skip, dstOverlap: .both,
          catchUp: .all, catchUpLimit: 5, overlap: .skip, createdAt: Timestamp(milliseconds: 0)))
  }

  @Test func theDefaultsAreThoseOfTheContract() throws {
    let rule = try fields(#"{"every_seconds":1.5}"#).rule(in: .utc, createdAt: Timestamp(milliseconds: 0))

    #expect(rule == ScheduleRule(.every(milliseconds: 1500, .fixedRate), createdAt: Timestamp(milliseconds: 0)))
  }

  @Test(
    arguments: [
      (#"{"cron":"61 * * * *"}"#, "/cron", "invalid_cron"), (#"{"cron":5}"#, "/cron", "invalid_cron"),
      (#"{}"#, "/cron", "invalid_field"), (#"{"cron":null}"#, "/cron", "invalid_field"),
      (#"{"cron":"@daily","every_seconds":5}"#, "/every_seconds", "invalid_field"),
      (#"{"every_seconds":0}"#, "/every_seconds", "invalid_field"),
      (#"{"every_seconds":-1}"#, "/every_seconds", "invalid_field"),
      (#"{"every_seconds":1e300}"#, "/every_seconds", "invalid_field"),
      (#"{"cron":"@daily","mode":"fixed_delay"}"#, "/mode", "invalid_field"),
      (#"{"cron":"@daily","dst_gap":"maybe"}"#, "/dst_gap", "invalid_field"),
      (#"{"cron":"@daily","max_runs":0}"#, "/max_runs", "invalid_field"),
      (#"{"cron":"@daily","catch_up_limit":1001}"#, "/catch_up_limit", "invalid_field"),
      (#"{"cron":"@daily","starts_at":"2026-11-20"}"#, "/starts_at", "invalid_field"),
      (#"{"cron":"@daily","starts_at":"2026-11-20T00:00:00"}"#, "/starts_at", "time_without_zone"),
      (
        #"{"cron":"@daily","starts_at":"2026-11-20T00:00:00Z","ends_at":"2026-11-19T00:00:00Z"}"#, "/ends_at",
        "invalid_field"
      ),
    ] as [(String, String, String)])
  func whatIsWrongIsAFaultOfItsField(text: String, pointer: String, code: String) throws {
    let fields = try fields(text)

    #expect(fields.faults.map(\.pointer) == [pointer])
    #expect(fields.faults.map(\.code) == [code])
    #expect(fields.rule(in: .utc, createdAt: Timestamp(milliseconds: 0)) == nil)
  }
}
