import TaskBridgeCore
import Testing

@Suite struct SubmissionJSONTests {
  @Test func taskAndPayloadAreEnoughAndTheRestIsLeftOpen() throws {
    let submission = try Submission.parse(body: bytes(#"{"task":"email.send","payload": { "to" : "a" } }"#))

    var expected = Submission(
      task: try #require(TaskKey("email.send")),
      payload: Payload(bytes: bytes(#"{ "to" : "a" }"#), contentType: "application/json"))
    #expect(submission == expected)
    expected.priority = 0
    #expect(
      try Submission.parse(body: bytes(#"{"task":"email.send","payload": { "to" : "a" } ,"priority":0}"#)) == expected)
  }

  @Test func everyFieldIsRead() throws {
    let id = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"
    let submission = try Submission.parse(
      body: bytes(
        #"""
        {"task":"a.b","payload":1,"content_type":"application/vnd.x+json","priority":7,"run_at":"2026-11-20T23:39:00Z",
        "expires_at":"2027-01-01T00:00:00+01:00","ttl_seconds":9.5,"ttl_from":"first_attempt","dedup_key":"$payload",
        "on_duplicate":"supersede","idempotency_key":"i",
        "depends_on":["\#(id)","\#(id)"],"on_dependency_failure":"ignore",
        "parent_id":"\#(id)","fail_fast":false,"max_attempts":9,"max_lost":0,"timeout_seconds":1.5,
        "retry":{"strategy":"linear","initial_seconds":2,"delays_seconds":[1,2]},"lease_seconds":30,"group":"g",
        "tags":{"k":"v","e":""},"name":"n","workflow_id":"w","template":"t","array":"x","array_index":3,
        "resources":{"cpu":2,"m":1.5},"resource_scales":{"m":0.5,"cpu":[2,4]},"fallback_tasks":["a.c"],
        "traceparent":"00-1","tracestate":"a=b"}
        """#))

    var expected = Submission(
      task: try #require(TaskKey("a.b")), payload: Payload(bytes: bytes("1"), contentType: "application/vnd.x+json"))
    let run = try #require(RunID(id))
    expected.priority = 7
    expected.runAt = try Timestamp(rfc3339: "2026-11-20T23:39:00Z")
    expected.expiresAt = try Timestamp(rfc3339: "2026-12-31T23:00:00Z")
    expected.ttlSeconds = 9.5
    expected.ttlFrom = .firstAttempt
    expected.dedupKey = "$payload"
    expected.onDuplicate = .supersede
    expected.idempotencyKey = "i"
    expected.dependsOn = [.run(run)]
    expected.onDependencyFailure = .ignore
    expected.parentID = run
    expected.failFast = false
    expected.maxAttempts = 9
    expected.maxLost = 0
    expected.timeoutSeconds = 1.5
    expected.retry = RetryPolicy(strategy: .linear, initialSeconds: 2, delaysSeconds: [1, 2])
    expected.leaseSeconds = 30
    expected.group = "g"
    expected.tags = ["k": "v", "e": ""]
    expected.name = "n"
    expected.workflowID = "w"
    expected.template = "t"
    expected.array = "x"
    expected.arrayIndex = 3
    expected.resources = ["cpu": 2, "m": 1.5]
    expected.resourceScales = ["m": .factor(0.5), "cpu": .values([2, 4])]
    expected.fallbackTasks = [try #require(TaskKey("a.c"))]
    expected.traceparent = "00-1"
    expected.tracestate = "a=b"
    #expect(submission == expected)
    #expect(submission.dedupsByPayload)
  }

  @Test func nullMeansTheDefaultEverywhere() throws {
    let nulls = Submission.fieldNames.filter { $0 != "task" }.map { "\"\($0)\":null" }.joined(separator: ",")

    let submission = try Submission.parse(body: bytes("{\"task\":\"a\",\(nulls)}"))

    #expect(submission == (try Submission.parse(body: bytes(#"{"task":"a"}"#))))
    #expect(submission.payload == Payload(bytes: bytes("null"), contentType: "application/json"))
  }

  @Test func bytesComeAsBase64() throws {
    let text = #"{"task":"a","payload":null,"payload_base64":"AAH/","content_type":"image/png"}"#
    #expect(try Submission.parse(body: bytes(text)).payload == Payload(bytes: [0, 1, 255], contentType: "image/png"))

    let plain = try Submission.parse(body: bytes(#"{"payload_base64":"","task":"a"}"#))
    #expect(plain.payload == Payload(bytes: [], contentType: "application/octet-stream"))
  }

  @Test(arguments: [
    ("priority", "-1"), ("priority", "256"), ("priority", "\"5\""), ("priority", "1.5"), ("priority", "5.0"),
    ("priority", "9223372036854775808"), ("priority", "1e400"), ("priority", "true"), ("max_attempts", "0"),
    ("max_attempts", "1000000000"), ("max_lost", "-1"), ("max_lost", "1001"), ("lease_seconds", "0"),
    ("lease_seconds", "86401"), ("delay_seconds", "-0.001"), ("delay_seconds", "1e400"), ("delay_seconds", "\"1\""),
    ("ttl_seconds", "-1"), ("timeout_seconds", "0"), ("timeout_seconds", "-1"), ("run_at", "\"tomorrow\""),
    ("run_at", "\"-1000000-01-01T00:00:00Z\""), ("run_at", "5"), ("expires_at", "\"2026-02-30T00:00:00Z\""),
    ("ttl_from", "\"birth\""), ("on_duplicate", "\"SKIP\""), ("on_dependency_failure", "1"), ("fail_fast", "\"true\""),
    ("fail_fast", "1"), ("parent_id", "\"x\""), ("dedup_key", "\"\""), ("dedup_key", "5"), ("name", "\"a\\u0000b\""),
    ("name", "\"a\\u0000b\""), ("group", "\"\\u0000\""), ("workflow_id", "\"\\u0000x\""), ("template", "[]"),
    ("tags", "[]"), ("tags", "\"a\""), ("depends_on", "\"x\""), ("fallback_tasks", "{}"), ("resources", "[1]"),
    ("resource_scales", "1"), ("array_index", "-1"), ("content_type", "\"\""), ("retry", "5"),
  ])
  func aWrongValueIsAFaultWithItsPointer(field: String, value: String) throws {
    let array = field == "array_index" ? "\"array\":\"x\"," : ""
    let text = "{\"task\":\"a\",\"payload\":1,\(array)\"\(field)\":\(value)}"

    let problem = try refusal { try Submission.parse(body: bytes(text)) }

    #expect(problem.status == 422 && problem.code == "invalid_field", "\(problem)")
    #expect(problem.errors.map(\.pointer) == ["/\(field)"])
  }

  @Test(arguments: [
    (#""tags":{"a":5}"#, "/tags/a", "invalid_field"), (#""tags":{"":"x"}"#, "/tags/", "invalid_field"),
    (#""tags":{"a/b~":"\u0000"}"#, "/tags/a~1b~0", "invalid_field"),
    (#""depends_on":["x"]"#, "/depends_on/0", "invalid_field"),
    (##""depends_on":["#0"]"##, "/depends_on/0", "invalid_field"),
    (#""resources":{"m":-1}"#, "/resources/m", "invalid_field"),
    (#""resources":{"m":null}"#, "/resources/m", "invalid_field"),
    (#""resource_scales":{"m":-1}"#, "/resource_scales/m", "invalid_field"),
    (#""resource_scales":{"m":[]}"#, "/resource_scales/m", "invalid_field"),
    (#""fallback_tasks":["a","B"]"#, "/fallback_tasks/1", "invalid_task"),
    (#""retry":{"initial_seconds":-1}"#, "/retry/initial_seconds", "invalid_field"),
    (#""retry":{"stratgey":"linear"}"#, "/retry/stratgey", "unknown_field"),
    (#""run_at":"2026-11-20T23:39:00""#, "/run_at", "time_without_zone"),
    (#""run_at":"2026-11-20T23:39:00Z","delay_seconds":1"#, "/delay_seconds", "invalid_field"),
    (#""array_index":1"#, "/array_index", "invalid_field"), (#""prioritty":1"#, "/prioritty", "unknown_field"),
    (#""payload_base64":"AA==""#, "/payload_base64", "invalid_field"),
  ])
  func aFaultSaysWhereAndWhatItIs(field: String, pointer: String, code: String) throws {
    let problem = try refusal { try Submission.parse(body: bytes("{\"task\":\"a\",\"payload\":1,\(field)}")) }

    #expect(problem.status == 422 && problem.code == code, "\(problem)")
    #expect(problem.errors.map(\.pointer) == [pointer])
  }

  @Test func anUnknownFieldNamesTheNearest() throws {
    let problem = try refusal { try Submission.parse(body: bytes(#"{"task":"a","payload":1,"runAt":null}"#)) }
    #expect(problem.detail.contains("did you mean run_at"))
  }

  @Test(arguments: [
    "{}", #"{"task":""}"#, #"{"task":null}"#, #"{"task":7}"#, #"{"task":"A"}"#, #"{"task":"../x"}"#,
    #"{"task":"a\r\nb"}"#,
    #"{"task":"😀"}"#, #"{"task":"'; DROP TABLE runs;--"}"#,
  ])
  func aWrongTaskIsRefusedWithTheGrammar(text: String) throws {
    let problem = try refusal { try Submission.parse(body: bytes(text)) }

    #expect(problem.status == 422 && problem.code == "invalid_task")
    #expect(problem.detail.contains(TaskKey.grammar))
    #expect(problem.errors.map(\.pointer) == ["/task"])
  }

  @Test func limitsHoldToTheByte() throws {
    func text(_ length: Int) -> String { String(repeating: "k", count: length) }
    func tags(_ count: Int) -> String { (0..<count).map { "\"t\($0)\":\"v\"" }.joined(separator: ",") }
    func ids(_ count: Int) -> String {
      (0..<count).map { "\"\(RunID(high: 1, low: UInt64($0)))\"" }.joined(separator: ",")
    }
    let cases: [(within: String, beyond: String, code: String)] = [
      ("\"dedup_key\":\"\(text(512))\"", "\"dedup_key\":\"\(text(513))\"", "invalid_field"),
      ("\"idempotency_key\":\"\(text(512))\"", "\"idempotency_key\":\"\(text(513))\"", "invalid_field"),
      ("\"tags\":{\"\(text(64))\":\"\"}", "\"tags\":{\"\(text(65))\":\"\"}", "invalid_field"),
      ("\"tags\":{\"k\":\"\(text(256))\"}", "\"tags\":{\"k\":\"\(text(257))\"}", "invalid_field"),
      ("\"tags\":{\(tags(32))}", "\"tags\":{\(tags(33))}", "too_many"),
      ("\"depends_on\":[\(ids(1000))]", "\"depends_on\":[\(ids(1001))]", "too_many"),
      ("\"priority\":255", "\"priority\":256", "invalid_field"),
      ("\"max_attempts\":1000", "\"max_attempts\":1001", "invalid_field"),
      ("\"lease_seconds\":86400", "\"lease_seconds\":86401", "invalid_field"),
    ]
    for (within, beyond, code) in cases {
      _ = try Submission.parse(body: bytes("{\"task\":\"a\",\"payload\":1,\(within)}"))
      let problem = try refusal { try Submission.parse(body: bytes("{\"task\":\"a\",\"payload\":1,\(beyond)}")) }
      #expect(problem.status == 422 && problem.code == code, "\(beyond.prefix(40))")
    }
  }

  @Test func aPayloadOfOneByteTooMuchIs413() throws {
    let limits = SubmissionLimits()
    func body(_ size: Int) -> [UInt8] {
      bytes(#"{"task":"a","payload":""#) + [UInt8](repeating: 120, count: size - 2) + bytes("\"}")
    }

    #expect(try Submission.parse(body: body(1_048_576), limits: limits).payload.bytes.count == 1_048_576)
    let problem = try refusal { try Submission.parse(body: body(1_048_577), limits: limits) }

    #expect(problem.status == 413 && problem.code == "payload_too_large")
  }

  @Test func allFaultsAreSaidAtOnce() throws {
    let problem = try refusal {
      try Submission.parse(body: bytes(#"{"priority":-1,"prio":1,"lease_seconds":0,"tags":{"a":1,"b":2}}"#))
    }

    #expect(
      problem.errors.map(\.pointer) == ["/priority", "/prio", "/lease_seconds", "/tags/a", "/tags/b", "/task"])
    #expect(problem.code == "unknown_field")
    #expect(problem.detail.contains("5 more"))
  }

  @Test func theIdempotencyKeyHeaderIsTheField() throws {
    let with = bytes(#"{"task":"a","idempotency_key":"k"}"#)

    #expect(try Submission.parse(body: bytes(#"{"task":"a"}"#), idempotencyKeyHeader: "k").idempotencyKey == "k")
    #expect(try Submission.parse(body: with, idempotencyKeyHeader: "k").idempotencyKey == "k")
    for header in ["other", "", String(repeating: "k", count: 513)] {
      #expect(try refusal { try Submission.parse(body: with, idempotencyKeyHeader: header) }.status == 422)
    }
  }

  @Test(arguments: [
    ("{bad", 400, "invalid_json"), ("", 400, "invalid_json"), (#"{"task":"a","payload":NaN}"#, 400, "invalid_json"),
    ("\u{FEFF}{}", 400, "invalid_json"), (#"{"task":"a"} x"#, 400, "invalid_json"),
    (#"{"task":"a","payload":"\ud800"}"#, 400, "invalid_json"), (#"{"task":"a","task":"b"}"#, 400, "duplicate_key"),
    (#"{"task":"a","payload":{"x":1,"x":2}}"#, 400, "duplicate_key"),
    (#"{"task":"a","payload":"# + String(repeating: "[", count: 10_000), 400, "too_deep"),
    ("[]", 422, "invalid_field"), ("7", 422, "invalid_field"), ("null", 422, "invalid_field"),
  ])
  func aBodyThatIsNoSubmissionIsRefused(text: String, status: Int, code: String) throws {
    let problem = try refusal { try Submission.parse(body: bytes(text)) }
    #expect(problem.status == status && problem.code == code, "\(problem)")
  }

  @Test func textsAreStoredLiterally() throws {
    let text = #"{"task":"a","name":"'; DROP TABLE runs;--","tags":{"<script>":"javascript:\u202e"}}"#

    let submission = try Submission.parse(body: bytes(text))

    #expect(submission.name == "'; DROP TABLE runs;--")
    #expect(submission.tags == ["<script>": "javascript:\u{202E}"])
  }

  @Test func randomFieldsNeverCrash() {
    var random = SplitMix64(seed: 15)
    for _ in 0..<5000 {
      var json = JSONWriter()
      json.object { json in
        for name in Submission.fieldNames.shuffled(using: &random).prefix(6) {
          json.member(name, JSONValue.random(depth: 3, using: &random))
        }
      }
      do {
        let submission = try Submission.parse(body: json.bytes)
        #expect(TaskKey(submission.task.rawValue) != nil)
      } catch {
        #expect([400, 413, 422].contains(error.status) && !error.code.isEmpty)
      }
    }
  }
}

@Suite struct SubmissionBatchTests {
  @Test func runsTakeWhatTheyDoNotNameFromTheDefaults() throws {
    let batch = try Submission.parseBatch(
      body: bytes(
        ##"""
        {"supersedes_workflow_id":"w1","runs":[{"payload": [ 1 ]},
          {"task":"b","payload":{"payload":2},"priority":null,"delay_seconds":5,
           "tags":{"x":"own"},"depends_on":["#0"]}],
         "defaults":{"task":"a","priority":9,"run_at":"2026-11-20T23:39:00Z","tags":{"x":"1","payload":"2"}}}
        """##))

    #expect(batch.supersedesWorkflowID == "w1")
    let (first, second) = (batch.submissions[0], batch.submissions[1])
    #expect(first.task.rawValue == "a" && first.priority == 9 && first.tags == ["x": "1", "payload": "2"])
    #expect(first.payload.bytes == bytes("[ 1 ]"))
    #expect(first.runAt != nil)
    #expect(second.task.rawValue == "b" && second.priority == nil && second.tags == ["x": "own", "payload": "2"])
    #expect(second.payload.bytes == bytes(#"{"payload":2}"#))
    #expect(second.runAt == nil && second.delaySeconds == 5)
    #expect(second.dependsOn == [.index(0)])
  }

  @Test func faultsOfAllRunsHaveTheirPointers() throws {
    let problem = try refusal {
      try Submission.parseBatch(
        body: bytes(#"{"runs":[{"task":"a"},{"priority":-1,"task":"a"},7,{}],"defaults":{"lease_seconds":0},"x":1}"#))
    }

    #expect(problem.status == 422)
    #expect(
      Set(problem.errors.map(\.pointer)) == [
        "/x", "/defaults/lease_seconds", "/runs/1/priority", "/runs/2", "/runs/3/task",
      ])
  }

  @Test(arguments: [
    (##"[{"depends_on":["#0"]}]"##, "dependency_cycle", ["/runs/0/depends_on"]),
    (
      ##"[{"depends_on":["#1"]},{"depends_on":["#0"]},{}]"##, "dependency_cycle",
      ["/runs/0/depends_on", "/runs/1/depends_on"]
    ),
    (##"[{"depends_on":["#99"]}]"##, "invalid_field", ["/runs/0/depends_on/0"]),
    (##"[{"depends_on":["#-1"]}]"##, "invalid_field", ["/runs/0/depends_on/0"]),
    (##"[{"depends_on":["#99999999999999999999"]}]"##, "invalid_field", ["/runs/0/depends_on/0"]),
    ("[]", "invalid_field", ["/runs"]), ("{}", "invalid_field", ["/runs"]), ("null", "invalid_field", ["/runs"]),
  ])
  func aBatchThatCanNotBeIsRefused(runs: String, code: String, pointers: [String]) throws {
    let problem = try refusal {
      try Submission.parseBatch(body: bytes("{\"runs\":\(runs),\"defaults\":{\"task\":\"a\"}}"))
    }

    #expect(problem.status == 422 && problem.code == code)
    #expect(problem.errors.map(\.pointer) == pointers)
  }

  @Test func tenThousandRunsAreTheMost() throws {
    func body(_ count: Int) -> [UInt8] {
      bytes("{\"runs\":[" + Array(repeating: #"{"task":"a","payload":1}"#, count: count).joined(separator: ",") + "]}")
    }

    #expect(try Submission.parseBatch(body: body(10_000)).submissions.count == 10_000)
    let problem = try refusal { try Submission.parseBatch(body: body(10_001)) }
    #expect(problem.status == 422 && problem.code == "too_many")
  }

  @Test func theListOfFaultsIsBounded() throws {
    let runs = Array(repeating: #"{"task":"A"}"#, count: 5000).joined(separator: ",")
    let problem = try refusal { try Submission.parseBatch(body: bytes("{\"runs\":[\(runs)]}")) }

    #expect(problem.errors.count == Problem.faultsMax)
    #expect(problem.detail.contains("4999 more"))
  }

  @Test func linesAreReadOneByOne() throws {
    let text = "{\"task\":\"a\",\"payload\":1}\r\n\n  \n{\"task\":\"b\",\"payload\": 2 ,\"depends_on\":[\"#0\"]}"

    let batch = try Submission.parseNDJSON(body: bytes(text))

    #expect(batch.submissions.map(\.task.rawValue) == ["a", "b"])
    #expect(batch.submissions[1].payload.bytes == bytes("2"))
    #expect(batch.submissions[1].dependsOn == [.index(0)])
  }

  @Test func aBrokenLineIsNamed() throws {
    let lines = (1...10).map { $0 == 7 ? "{\"task\":}" : "{\"task\":\"a\"}" }

    let problem = try refusal { try Submission.parseNDJSON(body: bytes(lines.joined(separator: "\n"))) }

    #expect(problem.status == 400 && problem.code == "invalid_json")
    #expect(problem.detail.contains("line 7, column 9"))
  }

  @Test func aWrongLineIsNamedWithItsPointer() throws {
    let problem = try refusal {
      try Submission.parseNDJSON(body: bytes("{\"task\":\"a\"}\n\n{\"task\":\"a\",\"priority\":-1}"))
    }

    #expect(problem.errors.map(\.pointer) == ["/runs/1/priority"])
    #expect(problem.errors[0].detail.hasPrefix("line 3: "))
    #expect(try refusal { try Submission.parseNDJSON(body: bytes("\n\n")) }.status == 422)
  }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

/// The problem that a call must end with.
func refusal<Value>(_ body: () throws -> Value) throws -> Problem {
  try #require(throws: Problem.self) { _ = try body() }
}
