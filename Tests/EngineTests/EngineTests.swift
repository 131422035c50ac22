import AMQPClient
import TaskBridgeCore
import TaskBridgeStore
import Testing

@testable import TaskBridgeEngine

@Suite struct TokenSignerTests {
  private let signer = TokenSigner(secret: Array(repeating: 7, count: 32))
  private let dispatch = DispatchID(
    runID: RunID("0192f1b2-0000-7000-8000-000000000001")!, attempt: 2, dispatch: 3)

  @Test func aTokenSpeaksForItsDispatchAlone() {
    let token = signer.token(for: dispatch)

    #expect(signer.verify(token) == dispatch)
    #expect(token == signer.token(for: dispatch), "the same dispatch can be published again")
    #expect(token.utf8.count <= 200)
  }

  @Test func aTokenWithAnyPartAlteredIsUnknown() {
    let token = signer.token(for: dispatch)
    let parts = token.split(separator: ".").map(String.init)

    for altered in [
      "", "x", "...", token + "0", String(token.dropLast()),
      "\(parts[0]).1.3.\(parts[3])", "\(parts[0]).2.4.\(parts[3])", "\(parts[0]).2.3.\(String(parts[3].reversed()))",
      "0192f1b2-0000-7000-8000-000000000002.2.3.\(parts[3])", String(repeating: "a", count: 10_000),
    ] {
      #expect(signer.verify(altered) == nil, "\(altered.prefix(80))")
    }
    #expect(TokenSigner(secret: Array(repeating: 8, count: 32)).verify(token) == nil, "another store's")
  }
}

@Suite struct ObjectNamesTests {
  private let names = ObjectNames(prefix: "taskbridge")

  @Test func answersNeverGoToTheBridgesOwnObjects() {
    for refused in [
      "", "taskbridge", "taskbridge.submit", "taskbridge.run.media.thumbnail", "amq.topic", "amq.rabbitmq.trace",
    ] {
      #expect(!names.mayAnswer(refused), "\(refused)")
    }
    for allowed in [
      "amq.rabbitmq.reply-to", "amq.rabbitmq.reply-to.g1h2.x==", "amq.gen-abc", "my.replies", "taskbridges",
    ] {
      #expect(names.mayAnswer(allowed), "\(allowed)")
    }
  }
}

@Suite struct RestoreCaseTests {
  private func facts(expected: Int = 10, stale: Int = 2, unknown: Int = 3, isPurging: Bool = false) -> QueueFacts {
    QueueFacts(
      name: "taskbridge.run.a", task: TaskKey("a")!, expected: expected, stale: stale, unknown: unknown,
      isPurging: isPurging, broker: "b")
  }

  @Test func theFourCasesAreToldApart() {
    #expect(RestoreCase.of(facts(), ready: nil, consumers: 0, isSameBroker: true) == .a)
    #expect(RestoreCase.of(facts(), ready: 99, consumers: 0, isSameBroker: false) == .a)
    #expect(RestoreCase.of(facts(), ready: 15, consumers: 0, isSameBroker: true) == .b)
    #expect(RestoreCase.of(facts(), ready: 14, consumers: 0, isSameBroker: true) == .c)
    #expect(RestoreCase.of(facts(), ready: 14, consumers: 1, isSameBroker: true) == .d)
  }

  @Test func anInterruptedPurgeIsFinishedWhateverTheQueueHolds() {
    #expect(RestoreCase.of(facts(isPurging: true), ready: 99, consumers: 5, isSameBroker: true) == .c)
  }
}

@Suite struct MarkerTests {
  @Test func aMarkerIsReadAsItWasWritten() {
    let marker = Marker(storeID: "abc", generation: 7, incarnation: "def")

    #expect(Marker(marker.json) == marker)
    #expect(Marker(Array("{}".utf8)) == nil)
    #expect(Marker([]) == nil)
  }
}

@Suite struct MessageCodecTests {
  private let codec = MessageCodec(
    names: ObjectNames(prefix: "taskbridge"), signer: TokenSigner(secret: Array(repeating: 1, count: 32)))
  private let now = Timestamp(milliseconds: 1_800_000_000_000)

  private func dispatch(_ payload: Payload, _ change: (inout Run) -> Void = { _ in }) -> Dispatch {
    var run = Run(
      sequence: 1, id: RunID("0192f1b2-0000-7000-8000-000000000001")!, task: TaskKey("media.thumbnail")!,
      state: .queued, createdAt: now)
    run.attempt = 1
    run.dispatch = 2
    change(&run)
    return Dispatch(run: run, payload: payload, maxAttempts: 4, leaseSeconds: 60, effectivePriority: run.priority)
  }

  @Test func aRawMessageCarriesThePayloadUntouched() {
    let payload = Payload(bytes: [0, 255, 10], contentType: "image/png", contentEncoding: "gzip")

    let message = codec.message(for: dispatch(payload), wire: .raw, now: now)

    #expect(message.body == [0, 255, 10])
    #expect(message.properties.contentType == "image/png")
    #expect(message.properties.contentEncoding == "gzip")
    #expect(message.properties.messageID == "0192f1b2-0000-7000-8000-000000000001.1.2")
    #expect(message.properties.replyTo == "taskbridge.events")
    #expect(message.properties.deliveryMode == 2)
    #expect(message.mandatory)
  }

  @Test(arguments: [(0, UInt8(9)), (25, 9), (26, 8), (128, 4), (255, 0)])
  func thePriorityPropertyIsNineForTheMostUrgent(priority: Int, expected: UInt8) {
    let message = codec.message(for: dispatch(Payload(bytes: [])) { $0.priority = priority }, wire: .raw, now: now)
    #expect(message.properties.priority == expected)
  }

  @Test func anEnvelopeHoldsEverythingAShellNeeds() throws {
    let json = codec.message(for: dispatch(Payload(bytes: Array(#"{"a": 1}"#.utf8))), wire: .envelope, now: now)
    let bytes = codec.message(
      for: dispatch(Payload(bytes: [0, 1], contentType: "application/octet-stream")), wire: .envelope, now: now)

    let text = String(decoding: json.body, as: UTF8.self)
    #expect(text.contains(#""payload":{"a": 1}"#), "spliced raw, white space included")
    #expect(text.contains(#""reply_to":"taskbridge.events""#))
    #expect(String(decoding: bytes.body, as: UTF8.self).contains(#""payload_base64":"AAE=""#))
  }
}
