import Foundation
import Testing

/// The built program: exit statuses, streams, signals.
@Suite(.timeLimit(.minutes(2))) struct ProgramTests {
  private static let exits: [([String], Int32)] = [
    (["bogus"], 64), (["runs", "--bogus"], 64), (["submit"], 64), (["submit", "Bad!"], 64),
    (["submit", "a", "{bad"], 64),
    (["submit", "a", "@/no/such/file"], 64), (["submit", "a", "--delay=-5s"], 64),
    (["submit", "a", "--at", "2026-01-01T00:00:00"], 64), (["show", "nope"], 64), (["status", "--url", "ftp://x"], 64),
    (["config", "check", "--http", "0.0.0.0:80"], 64), (["serve", "--amqp", "amqps://u:p@example.com/"], 64),
    (["config", "check"], 0), (["--version"], 0), (["--help"], 0), (["status", "--url", "http://127.0.0.1:1"], 5),
    (["healthcheck", "--url", "http://127.0.0.1:1"], 5),
  ]

  @Test(arguments: exits)
  func exitStatusesAreThoseOfTheContract(arguments: [String], status: Int32) throws {
    let end = try Program.run(arguments)

    #expect(end.status == status, "\(end.errors)")
    if status != 0 { #expect(end.output.isEmpty) }
  }

  @Test func errorsAreProblemObjectsWhenJSONIsAskedFor() throws {
    let unreachable = try Program.run(["runs", "--url", "http://127.0.0.1:1", "--output", "json"])
    let usage = try Program.run(["runs", "--bogus", "--output=json"])

    #expect(try Program.object(unreachable.output)["code"] as? String == "unreachable")
    #expect(unreachable.status == 5)
    #expect(try Program.object(usage.output)["code"] as? String == "usage")
    #expect(usage.status == 64)
  }

  @Test(arguments: [(401, 6), (403, 6), (404, 3), (409, 4), (422, 1), (503, 5)])
  func aRefusalOfTheServerEndsWithItsStatus(http: Int, status: Int32) throws {
    let problem = #"{"type":"about:blank","title":"T","status":\#(http),"code":"c_\#(http)","detail":"d\#u{1B}"}"#
    let server = try FakeBridge { _ in (http, problem) }

    let words = try Program.run(["status", "--url", server.url])
    let json = try Program.run(["status", "--url", server.url, "--output", "json"])

    #expect(words.status == status)
    #expect(words.errors.contains("c_\(http)"))
    #expect(!words.errors.contains("\u{1B}"))
    #expect(json.status == status)
    #expect(json.output == problem + "\n")
  }

  @Test func aSubmissionKeepsTheBytesOfItsPayload() throws {
    let server = try FakeBridge { request in
      let body = request.range(of: "\r\n\r\n").map { String(request[$0.upperBound...]) } ?? ""
      return (201, #"{"outcome":"inserted","run":{"id":"\#(Self.id)"},"request":\#(body)}"#)
    }

    let end = try Program.run([
      "submit", "email.send", "{ \"a\" : 1.50 }", "--tag", "k=v=w", "--after", Self.id.uppercased(), "--delay", "2m",
      "--output", "json", "--url", server.url,
    ])

    let options = #""delay_seconds":120,"depends_on":["\#(Self.id)"],"tags":{"k":"v=w"}"#
    let body = #"{"task":"email.send","payload":{ "a" : 1.50 },\#(options)}"#
    #expect(end.output.hasSuffix(#""request":\#(body)}"# + "\n"), "\(end.output)")
  }

  @Test func listsArePrintedAsTheServerSentThem() throws {
    let page = #"{"items":[{"id":"1","task":"t", "state":"ready"},{"id":"2"}],"next_cursor":"c2"}"#
    let server = try FakeBridge { _ in (200, page) }

    let json = try Program.run(["runs", "--url", server.url, "--output", "json"])
    let lines = try Program.run(["runs", "--url", server.url, "--output", "jsonl"])
    let table = try Program.run(["runs", "--url", server.url])

    #expect(json.output == page + "\n")
    #expect(lines.output == "{\"id\":\"1\",\"task\":\"t\", \"state\":\"ready\"}\n{\"id\":\"2\"}\n")
    #expect(table.output.hasPrefix("ID  "))
    #expect(table.errors.contains("--cursor c2"))
  }

  @Test func aClosedReaderEndsTheProgramQuietly() throws {
    let server = try FakeBridge { _ in (200, #"{"items":[],"next_cursor":null}"#) }

    let end = try Program.shell("\"$0\" runs --url \(server.url) --output json | true; echo ${PIPESTATUS[0]}")

    #expect(end.output == "0\n")
    #expect(end.errors.isEmpty)
  }

  @Test func aFullDiskIsAnErrorWithItsReason() throws {
    let end = try Program.shell("\"$0\" config show > /dev/full")

    #expect(end.status == 1)
    #expect(end.errors.contains("No space left"))
  }

  @Test func waitingEndsWithTheRun() throws {
    let server = try FakeBridge { request in Self.run(request, state: "completed", result: #"{"n": 1}"#) }

    let end = try Program.run(["submit", "t", "{}", "--wait=20s", "--url", server.url])

    #expect(end.status == 0)
    #expect(end.output == "{\"n\": 1}\n")
  }

  @Test(arguments: ["failed", "dead_lettered", "cancelled", "expired", "superseded", "dependency_failed"])
  func waitingForARunThatEndsBadlyIsTwo(state: String) throws {
    let server = try FakeBridge { request in Self.run(request, state: state, result: "null") }

    #expect(try Program.run(["submit", "t", "{}", "--wait", "--url", server.url]).status == 2)
  }

  @Test func waitingTooLongIsTwoAndTheRunGoesOn() throws {
    let server = try FakeBridge { request in Self.run(request, state: "running", result: "null") }

    let end = try Program.run(["submit", "t", "{}", "--wait=300ms", "--url", server.url])

    #expect(end.status == 2)
    #expect(end.errors.contains("goes on"))
  }

  @Test func anInterruptWhileWaitingEndsByTheSignalAndSaysThatTheRunGoesOn() throws {
    let seen = DispatchSemaphore(value: 0)
    let server = try FakeBridge { request in
      if request.hasPrefix("GET /v1/runs?") { seen.signal() }
      return Self.run(request, state: "running", result: "null")
    }
    let program = try Program.start(["submit", "t", "{}", "--wait", "--url", server.url])

    seen.wait()
    program.process.interrupt()
    let end = program.end()

    #expect(program.process.terminationReason == .uncaughtSignal)
    #expect(end.status == SIGINT)
    #expect(end.errors.contains("goes on"))
  }

  private static let id = "01985c2e-7d2a-7c3b-9a51-0123456789ab"

  private static func run(_ request: String, state: String, result: String) -> (Int, String) {
    let run = #"{"id":"\#(id)","state":"\#(state)","result":\#(result),"last_error":null}"#
    if request.hasPrefix("POST") { return (201, #"{"outcome":"inserted","run":\#(run),"replaced_id":null}"#) }
    return (200, request.hasPrefix("GET /v1/runs?") ? #"{"items":[\#(run)],"next_cursor":null}"# : run)
  }
}
