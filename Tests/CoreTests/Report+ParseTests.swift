import TaskBridgeCore
import Testing

@Suite struct ReportParseTests {
  private func parse(_ body: String, headers: [String: HeaderValue] = [:]) throws -> WorkerReport {
    try WorkerReport.parse(ReportMessage(body: bytes(body), correlationID: "t", type: "running", headers: headers))
  }

  @Test func everyFieldIsRead() throws {
    let report = try parse(
      #"""
      {"state":"failed","worker":"w","node":"n","claim":"c","next_report_seconds":30,"retry_after_seconds":2.5,
      "progress":{"percent":50,"message":"half","bytes_done":5,"bytes_total":10},"result": {"a": [1, 2]} ,
      "usage":{"wallclock_seconds":1.5,"cpu_seconds":1,"max_rss_bytes":2,"read_bytes":3,"write_bytes":4},
      "error":{"type":"E","message":"m","retryable":false,"details": {"x" : 1},"traceback":"tb","more":{}},
      "stdout":"out","stderr":"err","at":"2026-11-20T23:39:00.123Z","unknown":{"a":[1]}}
      """#)

    #expect(
      report
        == WorkerReport(
          token: "t", state: .failed, worker: "w", node: "n", claim: "c", nextReportSeconds: 30,
          progress: WorkerProgress(percent: 50, message: "half", bytesDone: 5, bytesTotal: 10),
          result: bytes(#"{"a": [1, 2]}"#),
          usage: WorkerUsage(wallclockSeconds: 1.5, cpuSeconds: 1, maxRSSBytes: 2, readBytes: 3, writeBytes: 4),
          error: WorkerError(
            type: "E", message: "m", retryable: false, details: bytes(#"{"x" : 1}"#), traceback: "tb"),
          retryAfterSeconds: 2.5, stdout: "out", stderr: "err", at: Timestamp(milliseconds: 1_795_217_940_123)))
  }

  @Test(arguments: ReportedState.allCases)
  func aStateAloneIsAReport(state: ReportedState) throws {
    let expected = WorkerReport(token: "t", state: state)

    #expect(try parse("{\"state\":\"\(state.rawValue)\"}") == expected)
    #expect(try WorkerReport.parse(ReportMessage(body: [], correlationID: "t", type: state.rawValue)) == expected)
    let header = ReportMessage(body: [], correlationID: "t", headers: ["tb-state": .string(state.rawValue)])
    #expect(try WorkerReport.parse(header) == expected)
  }

  @Test func theTokenComesFromTheCorrelationIDElseTheHeaderElseTheBody() throws {
    var message = ReportMessage(
      body: bytes(#"{"token":"body","state":"completed"}"#), correlationID: "id",
      headers: ["tb-token": .string("header")])
    #expect(try WorkerReport.parse(message).token == "id")

    message.correlationID = ""
    #expect(try WorkerReport.parse(message).token == "header")

    message.headers = [:]
    #expect(try WorkerReport.parse(message).token == "body")
  }

  @Test func theStateComesFromTheBodyElseTheHeaderElseTheType() throws {
    var message = ReportMessage(
      body: bytes(#"{"state":"completed"}"#), correlationID: "t", type: "failed",
      headers: ["tb-state": .string("snoozed")])
    #expect(try WorkerReport.parse(message).state == .completed)

    message.body = bytes("{}")
    #expect(try WorkerReport.parse(message).state == .snoozed)

    message.headers = [:]
    #expect(try WorkerReport.parse(message).state == .failed)
  }

  @Test(arguments: [
    "{bad", "\u{1F}\u{8B}", "[]", "7", "null", "\"running\"", #"{"state":"running"} x"#, #"{"state":"succeeded"}"#,
    #"{"state":7}"#, #"{"state":null}"#, #"{"claim":7}"#, #"{"claim":{}}"#,
    "{\"a\":" + String(repeating: "[", count: 9999),
    #"{"result":"\ud800"}"#, "{\"claim\":\"" + String(repeating: "c", count: 513) + "\"}",
  ])
  func whatIsNoReportIsMalformed(body: String) throws {
    let problem = try refusal { try parse(body) }
    #expect(problem.code == "malformed" && [400, 422].contains(problem.status))
  }

  @Test func anUnknownStateIsToldTheKnownOnes() throws {
    let problem = try refusal { try parse(#"{"state":"succeeded"}"#) }

    #expect(problem.detail.contains("completed") && problem.detail.contains("resource_error"))
    #expect(problem.allowed == ReportedState.allCases.map(\.rawValue))
  }

  @Test(arguments: [
    ReportMessage(body: []), ReportMessage(body: [], type: "running"), ReportMessage(body: [], correlationID: "t"),
    ReportMessage(body: [], correlationID: String(repeating: "t", count: 201), type: "running"),
    ReportMessage(body: Array(#"{"token":7}"#.utf8), type: "running"),
    ReportMessage(body: Array(#"{"token":null}"#.utf8), type: "running"),
    ReportMessage(body: [], type: "running", headers: ["tb-token": .int(7)]),
    ReportMessage(body: [], correlationID: "t", type: "running", headers: ["": .null]),
  ])
  func withoutTokenOrStateItIsMalformed(message: ReportMessage) throws {
    #expect(try refusal { try WorkerReport.parse(message) }.code == "malformed")
  }

  @Test func aTokenOf200BytesIsTheLongest() throws {
    let token = String(repeating: "t", count: 200)
    #expect(try WorkerReport.parse(ReportMessage(body: [], correlationID: token, type: "running")).token == token)
  }

  @Test(
    arguments: [
      ("0", 1), ("-1", 1), ("0.5", 1), ("1", 1), ("86400", 86_400), ("86401", 86_400), ("1000000000", 86_400),
      ("1e400", 86_400),
    ] as [(String, Double)])
  func theNextReportIsClamped(written: String, seconds: Double) throws {
    let report = try parse("{\"next_report_seconds\":\(written)}")

    #expect(report.nextReportSeconds == seconds)
    #expect(report.notes.isEmpty == (Double(written) == seconds))
  }

  @Test(arguments: [
    #"{"next_report_seconds":"30"}"#, #"{"retry_after_seconds":"x"}"#, #"{"retry_after_seconds":1e400}"#,
    #"{"worker":7}"#,
    #"{"node":[]}"#, #"{"progress":50}"#, #"{"progress":{"percent":"NaN"}}"#, #"{"progress":{"bytes_done":-1}}"#,
    #"{"usage":[]}"#, #"{"usage":{"cpu_seconds":-1}}"#, #"{"usage":{"max_rss_bytes":"x"}}"#, #"{"error":7}"#,
    #"{"error":{"retryable":"no"}}"#, #"{"error":{"type":5,"message":"m"}}"#, #"{"stdout":{}}"#, #"{"at":"yesterday"}"#,
    #"{"at":"2026-11-20T23:39:00"}"#, #"{"at":5}"#, #"{"progress":{"percent":250}}"#, #"{"progress":{"percent":-1}}"#,
    #"{"progress":{"bytes_done":11,"bytes_total":10}}"#,
  ])
  func aFieldThatIsWrongIsClampedOrDroppedAndNoted(body: String) throws {
    let report = try parse(body)

    #expect(report.state == .running)
    #expect(report.notes.count == 1, "\(report.notes)")
  }

  @Test("T66: a negative retry_after_seconds is malformed", arguments: ["-1", "-0.5", "-1e300"])
  func aTimeInThePastIsMalformed(seconds: String) {
    let problem = #expect(throws: Problem.self) { try parse("{\"retry_after_seconds\":\(seconds)}") }

    #expect(problem?.code == "malformed")
    #expect(problem?.detail.contains("retry_after_seconds") == true)
  }

  @Test func clampedValuesAreTheNearestAllowed() throws {
    #expect(try parse(#"{"progress":{"percent":250}}"#).progress?.percent == 100)
    #expect(try parse(#"{"progress":{"percent":-1}}"#).progress?.percent == 0)
    #expect(try parse(#"{"progress":{"bytes_done":11,"bytes_total":10}}"#).progress?.bytesDone == 10)
    #expect(try parse(#"{"usage":{"max_rss_bytes":12.6}}"#).usage?.maxRSSBytes == 13)
    #expect(try parse(#"{"error":{"retryable":"no"}}"#).error?.retryable == true)
  }

  @Test func nullIsTheSameAsAbsent() throws {
    let names = [
      "worker", "node", "claim", "next_report_seconds", "retry_after_seconds", "progress", "result", "usage", "error",
      "stdout", "stderr", "at", "token",
    ]
    let report = try parse("{" + names.map { "\"\($0)\":null" }.joined(separator: ",") + "}")
    #expect(report == WorkerReport(token: "t", state: .running))
  }

  @Test func aBareErrorIsItsMessage() throws {
    #expect(try parse(#"{"error":"boom"}"#).error == WorkerError(message: "boom"))
  }

  @Test func ofTheOutputTheEndIsKept() throws {
    let long = String(repeating: "é", count: 5_000_000) + "\\u001b[31mend"
    let full = String(repeating: "e", count: 10_000)

    let report = try parse("{\"stdout\":\"\(long)\",\"stderr\":\"\(full)\"}")

    #expect(report.stdout?.unicodeScalars.count == 10_000)
    #expect(report.stdout?.hasSuffix("\u{1B}[31mend") == true)
    #expect(report.stderr?.count == 10_000)
    #expect(report.notes.count == 1)
  }

  @Test func aResultOfFiveMebibytesIsMalformed() throws {
    let large = String(repeating: "x", count: 5 * 1_048_576)

    #expect(try refusal { try parse("{\"result\":\"\(large)\"}") }.code == "malformed")
    #expect(try refusal { try parse(large) }.code == "malformed")
  }

  @Test func longNamesAreCutAtACharacter() throws {
    let report = try parse("{\"worker\":\"a\(String(repeating: "é", count: 300))\"}")

    #expect(report.worker?.utf8.count == 511)
    #expect(report.notes.count == 1)
  }

  @Test func partsOfAReportAreWrittenAsTheyCame() {
    let error = WorkerError(type: "E", message: "m", retryable: false, details: bytes("[1]"), traceback: "t")
    #expect(
      String(decoding: error.json, as: UTF8.self)
        == #"{"type":"E","message":"m","retryable":false,"details":[1],"traceback":"t"}"#)
    #expect(
      String(decoding: WorkerProgress(percent: 50, bytesDone: 1).json, as: UTF8.self)
        == #"{"percent":50,"bytes_done":1}"#)
    #expect(String(decoding: WorkerUsage(cpuSeconds: 0.5).json, as: UTF8.self) == #"{"cpu_seconds":0.5}"#)
  }

  @Test func randomReportsNeverCrash() {
    var random = SplitMix64(seed: 17)
    let names = [
      "token", "state", "worker", "node", "claim", "next_report_seconds", "retry_after_seconds", "progress", "usage",
      "error",
      "result", "stdout", "stderr", "at",
    ]
    var taken = 0
    for _ in 0..<5000 {
      var json = JSONWriter()
      json.object { json in
        for name in names.shuffled(using: &random).prefix(4) {
          json.member(name, JSONValue.random(depth: 3, using: &random))
        }
      }
      var body = json.bytes
      if Bool.random(using: &random), let at = body.indices.randomElement(using: &random) { body[at] = 0x22 }
      do {
        let report = try WorkerReport.parse(ReportMessage(body: body, correlationID: "t", type: "progress"))
        #expect(report.token == "t")
        taken += 1
      } catch {
        #expect(error.code == "malformed")
      }
    }
    #expect(taken > 500)
  }
}
