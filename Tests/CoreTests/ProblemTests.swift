import TaskBridgeCore
import Testing

@Suite struct ProblemTests {
  @Test func aProblemIsWrittenAsRFC9457() throws {
    var problem = Problem(
      409, "terminal_run", "the run has ended", errors: [Fault(pointer: "/state", detail: "no")],
      runID: RunID("019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"), allowed: ["retry"], retryAfterSeconds: 3)
    problem.instance = "/v1/runs/x"

    let text = String(decoding: problem.json, as: UTF8.self)

    #expect(
      text == """
        {"type":"urn:taskbridge:problem:terminal_run","title":"Conflict","status":409,"detail":"the run has ended",\
        "instance":"/v1/runs/x","code":"terminal_run","errors":[{"pointer":"/state","detail":"no"}],\
        "run_id":"019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b","allowed":["retry"],"retry_after_seconds":3}
        """)
  }

  @Test func whatIsEmptyIsLeftOut() throws {
    let object = try #require(JSONValue.parse(Problem(404, "run_not_found", "none").json).objectValue)

    #expect(object.members.map(\.key) == ["type", "title", "status", "detail", "code"])
  }
}
