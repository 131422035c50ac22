import TaskBridgeCore
import Testing

@Suite struct SubmissionMessageTests {
  private let described = "application/vnd.taskbridge.submission+json"
  private let cloudEvent = "application/cloudevents+json"

  private func plain(_ headers: [String: HeaderValue]) -> SubmissionMessage {
    SubmissionMessage(routingKey: "a.b", body: bytes("x"), headers: headers)
  }

  // MARK: Plain

  @Test(
    arguments: [([], nil, nil), ([0xFF, 0x00], "x/y", "gzip"), ([0x7B], "application/json", nil)]
      as [([UInt8], String?, String?)])
  func aPlainBodyIsThePayloadByteForByte(body: [UInt8], type: String?, encoding: String?) throws {
    let submission = try Submission.parse(
      message: SubmissionMessage(routingKey: "a.b", body: body, contentType: type, contentEncoding: encoding))

    let task = try #require(TaskKey("a.b"))
    #expect(
      submission == Submission(task: task, payload: Payload(bytes: body, contentType: type, contentEncoding: encoding)))
  }

  @Test func optionsAreHeaders() throws {
    let id = "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b"
    let submission = try Submission.parse(
      message: plain([
        "tb-priority": .int(0), "tb-delay-seconds": .string("1.5"),
        "tb-expires-at": .timestamp(Timestamp(milliseconds: 0)),
        "tb-dedup-key": .string("d"), "tb-on-duplicate": .bytes(bytes("reject")), "tb-idempotency-key": .int(7),
        "tb-depends-on": .array([.string(id)]), "tb-parent-id": .string(id), "tb-fail-fast": .string("false"),
        "tb-tags": .table(["a": .string("x"), "n": .int(5), "d": .double(1.5)]), "tb-max-attempts": .string("3"),
        "tb-ttl-seconds": .double(5), "tb-timeout-seconds": .int(5), "tb-workflow-id": .string("w"),
        "tb-group": .string("g"),
        "tb-retry": .table(["strategy": .string("linear"), "initial_seconds": .int(2)]),
        "tb-resources": .string(#"{"m":1}"#), "tb-resource-scales": .table(["m": .array([.int(1), .double(2)])]),
        "tb-fallback-tasks": .string("a.c, a.d"), "tb-name": .null, "traceparent": .string("00-1"),
        "tracestate": .int(5), "x-custom": .table([:]),
      ]))

    var expected = Submission(task: try #require(TaskKey("a.b")), payload: Payload(bytes: bytes("x")))
    let run = try #require(RunID(id))
    expected.priority = 0
    expected.delaySeconds = 1.5
    expected.expiresAt = Timestamp(milliseconds: 0)
    expected.dedupKey = "d"
    expected.onDuplicate = .reject
    expected.idempotencyKey = "7"
    expected.dependsOn = [.run(run)]
    expected.parentID = run
    expected.failFast = false
    expected.tags = ["a": "x", "n": "5", "d": "1.5"]
    expected.maxAttempts = 3
    expected.ttlSeconds = 5
    expected.timeoutSeconds = 5
    expected.workflowID = "w"
    expected.group = "g"
    expected.retry = RetryPolicy(strategy: .linear, initialSeconds: 2)
    expected.resources = ["m": 1]
    expected.resourceScales = ["m": .values([1, 2])]
    expected.fallbackTasks = [try #require(TaskKey("a.c")), try #require(TaskKey("a.d"))]
    expected.traceparent = "00-1"
    #expect(submission == expected)
  }

  @Test(arguments: [.string("5"), .int(5), .bytes([53])] as [HeaderValue])
  func anIntegerMayBeTextOrNumber(value: HeaderValue) throws {
    #expect(try Submission.parse(message: plain(["tb-priority": value])).priority == 5)
  }

  @Test(
    arguments: [
      ("tb-priority", .double(5)), ("tb-priority", .string("5.0")), ("tb-priority", .string("abc")),
      ("tb-priority", .table(["a": .int(1)])), ("tb-priority", .bool(true)), ("tb-priority", .bytes([0xFF])),
      ("tb-priority", .int(256)), ("tb-delay-seconds", .string("soon")), ("tb-delay-seconds", .double(.nan)),
      ("tb-fail-fast", .string("yes")), ("tb-fail-fast", .int(1)), ("tb-tags", .string("{")), ("tb-tags", .array([])),
      ("tb-depends-on", .string("x")), ("tb-dedup-key", .string("a\u{0}")), ("tb-dedup-key", .bool(true)),
      ("tb-run-at", .string("tomorrow")), ("tb-retry", .string("5")), ("tb-resources", .bytes([0xFF])),
      ("tb-name", .double(1)), ("tb-name", .array([])),
    ] as [(String, HeaderValue)])
  func aWrongHeaderIs422WithItsPointer(name: String, value: HeaderValue) throws {
    let problem = try refusal { try Submission.parse(message: plain([name: value])) }

    #expect(problem.status == 422 && problem.code == "invalid_field", "\(problem)")
    #expect(try #require(problem.errors.first).pointer.hasPrefix("/headers/\(name)"))
  }

  @Test(arguments: ["tb-prioritty", "tb-payload", "tb-content-type", "tb-", "tb-run_at", "tb-TASK"])
  func anUnknownOptionIsRefused(name: String) throws {
    let problem = try refusal { try Submission.parse(message: plain([name: .int(1)])) }
    #expect(problem.status == 422 && problem.code == "unknown_field")
  }

  @Test func anUnknownOptionNamesTheNearest() throws {
    let problem = try refusal { try Submission.parse(message: plain(["tb-runat": .int(1)])) }
    #expect(problem.detail.contains("did you mean tb-run-at"))
  }

  @Test(arguments: ["tb-token", "tb-attempt", "tb-reason", "tb-fingerprint", "tb-dead-at", "tb-error-type"])
  func whatTheBridgeWritesIsReserved(name: String) throws {
    let problem = try refusal { try Submission.parse(message: plain([name: .int(1)])) }
    #expect(problem.status == 422 && problem.code == "reserved_header")
  }

  @Test func aMovedDeadLetterIsTold() {
    #expect(plain(["tb-run-id": .string("x"), "tb-token": .int(1)]).replayRunID == "x")
    #expect(plain(["tb-run-id": .int(1)]).replayRunID == "")
    #expect(plain([:]).replayRunID == nil)
  }

  @Test func timeCanNotBeGivenTwice() throws {
    let headers: [String: HeaderValue] = ["tb-run-at": .string("2030-01-01T00:00:00Z"), "tb-delay-seconds": .int(1)]
    let problem = try refusal { try Submission.parse(message: plain(headers)) }
    #expect(problem.status == 422 && problem.errors.map(\.pointer) == ["/headers/tb-delay-seconds"])

    let zone = try refusal { try Submission.parse(message: plain(["tb-run-at": .string("2030-01-01T00:00:00")])) }
    #expect(zone.code == "time_without_zone")
  }

  @Test func theMessageIDIsTheIdempotencyKeyUnlessOneIsGiven() throws {
    var message = plain([:])
    message.messageID = "m"
    #expect(try Submission.parse(message: message).idempotencyKey == "m")

    message.headers = ["tb-idempotency-key": .string("k")]
    #expect(try Submission.parse(message: message).idempotencyKey == "k")

    message = plain([:])
    message.messageID = ""
    #expect(try Submission.parse(message: message).idempotencyKey == nil)
    message.messageID = String(repeating: "i", count: 255)
    #expect(try Submission.parse(message: message).idempotencyKey?.count == 255)
    message.messageID = "a\u{0}"
    #expect(try refusal { try Submission.parse(message: message) }.status == 422)
  }

  @Test(arguments: ["", "Not A Key", "a..", "a\u{0}", String(repeating: "a", count: 121)])
  func aRoutingKeyThatIsNoTaskKeyIsRefused(key: String) throws {
    let problem = try refusal { try Submission.parse(message: SubmissionMessage(routingKey: key, body: [])) }
    #expect(problem.status == 422 && problem.code == "invalid_task")
  }

  @Test func aByteTooMuchIs413() throws {
    let limits = SubmissionLimits(payloadBytesMax: 4)
    var message = SubmissionMessage(routingKey: "a", body: bytes("1234"))
    _ = try Submission.parse(message: message, limits: limits)
    message.body.append(0)

    let problem = try refusal { try Submission.parse(message: message, limits: limits) }

    #expect(problem.status == 413 && problem.code == "payload_too_large")
  }

  // MARK: Hostile headers

  @Test func headersThatNoClientWritesAreMalformed() throws {
    var nested = HeaderValue.int(1)
    for level in 0..<40 { nested = level.isMultiple(of: 2) ? .array([nested]) : .table(["x": nested]) }
    let cases: [[String: HeaderValue]] = [
      ["": .int(1)], ["x": .table(["": .int(1)])], ["x": nested],
      ["x": .string(String(repeating: "x", count: 130_000))], ["x": .array(Array(repeating: .null, count: 70_000))],
    ]
    for headers in cases {
      let problem = try refusal { try Submission.parse(message: plain(headers)) }
      #expect(problem.code == "malformed", "\(problem)")
      let report = try refusal {
        try WorkerReport.parse(ReportMessage(body: [], correlationID: "t", type: "running", headers: headers))
      }
      #expect(report.code == "malformed")
    }
  }

  @Test func aThousandDependenciesFitIntoTheHeaders() throws {
    let ids = (0..<1000).map { RunID(high: 1, low: $0).description }

    let listed = try Submission.parse(message: plain(["tb-depends-on": .array(ids.map { .string($0) })]))
    let joined = try Submission.parse(message: plain(["tb-depends-on": .string(ids.joined(separator: ","))]))

    #expect(listed.dependsOn.count == 1000)
    #expect(listed == joined)
    let problem = try refusal {
      try Submission.parse(
        message: plain(["tb-depends-on": .string(Array(repeating: ids[0], count: 1001).joined(separator: ","))]))
    }
    #expect(problem.code == "too_many")
  }

  // MARK: Described

  @Test func aDescribedMessageIsASubmission() throws {
    let message = SubmissionMessage(
      routingKey: "a.b", body: bytes(#"{"payload": [ 1 ] ,"priority":3,"idempotency_key":"own"}"#),
      contentType: "Application/VND.taskbridge.submission+json; charset=utf-8", contentEncoding: "utf-8",
      messageID: "m",
      headers: ["tb-priority": .int(9), "tb-group": .string("g")])

    let submission = try Submission.parse(message: message)

    #expect(submission.task.rawValue == "a.b")
    #expect(submission.payload == Payload(bytes: bytes("[ 1 ]"), contentType: "application/json"))
    #expect(submission.priority == 3 && submission.group == "g" && submission.idempotencyKey == "own")
  }

  @Test func aDescribedMessageNamesItsTaskWhenTheRoutingKeyIsEmpty() throws {
    let message = SubmissionMessage(routingKey: "", body: bytes(#"{"task":"a.b"}"#), contentType: described)
    #expect(try Submission.parse(message: message).task.rawValue == "a.b")
  }

  @Test(arguments: [
    ("a.b", #"{"task":"a.c"}"#, 422, "task_mismatch"), ("a.b", #"{"task":"A"}"#, 422, "invalid_task"),
    ("", "{}", 422, "invalid_task"), ("a.b", "{bad", 400, "invalid_json"), ("a.b", "", 400, "invalid_json"),
    ("a.b", "[]", 422, "invalid_field"), ("a.b", #"{"priority":-1}"#, 422, "invalid_field"),
    ("a.b", #"{"prioritty":1}"#, 422, "unknown_field"), ("a.b", #"{"payload":1,"payload":2}"#, 400, "duplicate_key"),
    ("a.b", "{\"payload\":" + String(repeating: "[", count: 9999), 400, "too_deep"),
  ])
  func aWrongDescriptionIsRefused(key: String, body: String, status: Int, code: String) throws {
    let problem = try refusal {
      try Submission.parse(message: SubmissionMessage(routingKey: key, body: bytes(body), contentType: described))
    }
    #expect(problem.status == status && problem.code == code, "\(problem)")
    #expect(problem.errors.count <= 1)
  }

  @Test(arguments: ["application/vnd.taskbridge.submission+json", "application/cloudevents+json"])
  func aCodingOfABodyThatMustBeReadIs415(type: String) throws {
    let problem = try refusal {
      try Submission.parse(
        message: SubmissionMessage(routingKey: "a", body: [0x1F, 0x8B], contentType: type, contentEncoding: "gzip"))
    }
    #expect(problem.status == 415 && problem.code == "unsupported_media_type")
  }

  // MARK: CloudEvents

  @Test(arguments: [
    (#""data": {"n": 1} "#, #"{"n": 1}"#, "application/json"),
    (#""data":"text","datacontenttype":"text/plain""#, "text", "text/plain"),
    (#""data":"text","datacontenttype":"application/x+json""#, "\"text\"", "application/x+json"),
    (#""data":"text""#, "\"text\"", "application/json"), (#""data_base64":"eA==""#, "x", "application/octet-stream"),
    (#""data_base64":"eA==","datacontenttype":"x/y""#, "x", "x/y"), (#""subject":"s""#, "null", "application/json"),
  ])
  func aStructuredEventCarriesThePayload(data: String, payload: String, type: String) throws {
    let body =
      "{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/s\",\"type\":\"t\",\"traceparent\":\"00-1\",\(data)}"
    let message = SubmissionMessage(
      routingKey: "a.b", body: bytes(body), contentType: "application/cloudevents+json; charset=utf-8", messageID: "m",
      headers: ["tb-priority": .int(1)])

    let submission = try Submission.parse(message: message)

    #expect(submission.payload == Payload(bytes: bytes(payload), contentType: type))
    #expect(submission.idempotencyKey == "/s#7")
    #expect(submission.traceparent == "00-1" && submission.priority == 1 && submission.task.rawValue == "a.b")
  }

  @Test func aBinaryEventIsItsHeaders() throws {
    let message = SubmissionMessage(
      routingKey: "a.b", body: [0xFF], contentType: "x/y",
      headers: [
        "ce-specversion": .string("1.0"), "ce-id": .string("7"), "ce-source": .bytes(bytes("/s")),
        "ce-type": .string("t"),
        "ce-traceparent": .string("00-1"),
      ])

    let submission = try Submission.parse(message: message)

    #expect(submission.payload == Payload(bytes: [0xFF], contentType: "x/y"))
    #expect(submission.idempotencyKey == "/s#7" && submission.traceparent == "00-1")
  }

  @Test(arguments: [
    #"{"specversion":"1.0","source":"/s"}"#, #"{"specversion":"1.0","id":"7"}"#, #"{"id":"","source":"/s"}"#,
    #"{"id":7,"source":"/s"}"#, #"{"specversion":"0.3","id":"7","source":"/s"}"#, "[]",
    #"{"id":"7","source":"/s","data_base64":"%"}"#, #"{"id":"7","source":"/s","data_base64":"","data":1}"#,
  ])
  func anEventWithoutItsNameIsRefused(body: String) throws {
    let problem = try refusal {
      try Submission.parse(message: SubmissionMessage(routingKey: "a", body: bytes(body), contentType: cloudEvent))
    }
    #expect(problem.status == 422 && problem.code == "invalid_field", "\(problem)")
  }

  @Test func binaryEventsNeedIDAndSourceToo() throws {
    for headers in [["ce-id": "7"], ["ce-source": "/s"], ["ce-type": "t"], ["ce-id": "7", "ce-source": ""]] {
      let problem = try refusal { try Submission.parse(message: plain(headers.mapValues { .string($0) })) }
      #expect(problem.status == 422)
    }
  }

  @Test func aBatchOfEventsIsRefused() throws {
    let message = SubmissionMessage(
      routingKey: "a", body: bytes("[]"), contentType: "application/cloudevents-batch+json")
    #expect(try refusal { try Submission.parse(message: message) }.status == 422)
  }

  // MARK: Anything

  @Test func randomMessagesNeverCrash() {
    var random = SplitMix64(seed: 16)
    let types = [nil, described, cloudEvent, "text/plain"]
    for _ in 0..<5000 {
      var headers: [String: HeaderValue] = [:]
      for _ in 0..<Int.random(in: 0...4, using: &random) {
        let field = Submission.fieldNames.randomElement(using: &random) ?? ""
        let name = ["tb-", "ce-", ""].randomElement(using: &random) ?? ""
        headers[name + field.map { $0 == "_" ? "-" : String($0) }.joined()] = HeaderValue.random(
          depth: 3, using: &random)
      }
      let message = SubmissionMessage(
        routingKey: ["a.b", "", "A"].randomElement(using: &random) ?? "",
        body: JSONValue.random(depth: 3, using: &random).json, contentType: types.randomElement(using: &random) ?? nil,
        headers: headers)
      do {
        let submission = try Submission.parse(message: message)
        #expect(TaskKey(submission.task.rawValue) != nil)
      } catch {
        #expect([400, 413, 415, 422].contains(error.status))
      }
    }
  }
}

extension HeaderValue {
  static func random(depth: Int, using random: inout SplitMix64) -> HeaderValue {
    switch Int.random(in: 0..<(depth > 0 ? 9 : 7), using: &random) {
    case 0: .null
    case 1: .bool(.random(using: &random))
    case 2: .int(.random(in: .min ... .max, using: &random))
    case 3: .double(Double(bitPattern: random.next()))
    case 4: .string(["5", "a", "", "[1]", "{\"a\":1}", "\u{0}", "a,b"].randomElement(using: &random) ?? "")
    case 5: .bytes((0..<3).map { _ in .random(in: 0...255, using: &random) })
    case 6: .timestamp(Timestamp(milliseconds: .random(in: .min ... .max, using: &random)))
    case 7: .array((0..<3).map { _ in .random(depth: depth - 1, using: &random) })
    default: .table(["a": .random(depth: depth - 1, using: &random), "b": .random(depth: depth - 1, using: &random)])
    }
  }
}
