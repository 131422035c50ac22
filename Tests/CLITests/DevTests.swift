import Foundation
import Testing

/// `dev` and `work` as a user has them: a private broker, a bridge, a command as worker.
///
/// Needs an installed RabbitMQ, which `scripts/test` sees to; it says so by `TASKBRIDGE_AMQP_URL`.
@Suite(.serialized, .timeLimit(.minutes(4)))
struct DevTests {
  @Test func aRunGoesRoundAndTheBrokerIsStoppedOnExit() async throws {
    try await withDev { dev in
      let worker = try Program.start(["work", "hello", "--exec", "cat", "--amqp", dev.broker.url])

      let end = try Program.run(["submit", "hello", "{\"a\": 1.50}", "--wait=60s", "--url", dev.url])
      let doctor = try Program.run(["doctor", "--amqp", dev.broker.url, "--data", dev.folder, "--url", dev.url])
      worker.process.terminate()
      let workerEnd = worker.end()

      #expect(end.output == "{\"a\": 1.50}\n", "\(end.errors)")
      #expect(doctor.status == 0, "\(doctor.output)")
      #expect(workerEnd.status == 0, "\(workerEnd.errors)")

      dev.program.process.terminate()
      let devEnd = dev.program.end()

      #expect(devEnd.status == 0, "\(devEnd.errors)")
      #expect(!FileManager.default.fileExists(atPath: dev.folder + "/broker.json"))
      #expect(!isRunning(dev.broker.pid))
    }
  }

  @Test func aBrokerThatLostEverythingComesBackOnItsPortAndNoRunIsLost() async throws {
    try await withDev { dev in
      let submitted = try Program.run(["submit", "late", "1", "--url", dev.url])
      kill(dev.broker.pid, SIGKILL)
      try FileManager.default.removeItem(atPath: dev.folder + "/broker")

      let worker = try Program.start(["work", "late", "--exec", "cat", "--amqp", dev.broker.url])
      let end = try Program.run(["submit", "late", "2", "--wait=90s", "--url", dev.url])
      let first = try Program.run([
        "runs", "--task", "late", "--state", "completed", "--output", "jsonl", "--url", dev.url,
      ])
      worker.process.terminate()
      _ = worker.end()
      let record = try BrokerFile(dev.folder)

      #expect(submitted.status == 0, "\(submitted.errors)")
      #expect(end.status == 0, "\(end.errors)")
      #expect(first.output.split(separator: "\n").count == 2)
      #expect(record.port == dev.broker.port)
      #expect(record.pid != dev.broker.pid)
    }
  }

  @Test func aBrokerThatOutlivedItsDevIsUsedAgain() async throws {
    try await withDev { dev in
      kill(dev.program.process.processIdentifier, SIGKILL)
      _ = dev.program.end()

      let again = try Program.start(["dev", "--data", dev.folder, "--http", "127.0.0.1:\(dev.httpPort)"])
      try await untilReady(dev.url)
      let record = try BrokerFile(dev.folder)
      again.process.terminate()
      let end = again.end()

      #expect(record.pid == dev.broker.pid)
      #expect(end.status == 0, "\(end.errors)")
      #expect(!isRunning(dev.broker.pid))
    }
  }

  @Test func aCancelledRunStopsItsCommand() async throws {
    try await withDev { dev in
      let command = "trap 'exit 130' INT; touch '\(dev.folder)/started'; while :; do sleep 0.05; done"
      let worker = try Program.start(["work", "endless", "--exec", command, "--amqp", dev.broker.url])
      let submitted = try Program.run(["submit", "endless", "--output", "json", "--url", dev.url])
      let run = try #require(try Program.object(submitted.output)["run"] as? [String: Any])
      let id = try #require(run["id"] as? String)
      try await until("the command has started") { FileManager.default.fileExists(atPath: dev.folder + "/started") }

      let cancelled = try Program.run(["cancel", id, "--url", dev.url])

      try await until("the run is cancelled") {
        try Program.run(["show", id, "--output", "json", "--url", dev.url]).output.contains("\"state\":\"cancelled\"")
      }
      worker.process.terminate()
      let end = worker.end()
      #expect(cancelled.status == 0, "\(cancelled.errors)")
      #expect(end.errors.contains("cancelled after"), "\(end.errors)")
    }
  }

  // MARK: Helpers

  private struct Dev {
    let program: Program.Running
    let folder: String
    let httpPort: Int
    let broker: BrokerFile
    var url: String { "http://127.0.0.1:\(httpPort)" }
  }

  /// What `dev` writes about its broker.
  private struct BrokerFile {
    let pid: pid_t
    let port: Int
    let url: String

    init(_ folder: String) throws {
      let object = try Program.object(try String(contentsOfFile: folder + "/broker.json", encoding: .utf8))
      pid = pid_t(try #require(object["pid"] as? Int))
      port = try #require(object["port"] as? Int)
      url = try #require(object["url"] as? String)
    }
  }

  private struct Missing: Error, CustomStringConvertible {
    let description = "TASKBRIDGE_AMQP_URL is not set: run these tests by scripts/test, which installs RabbitMQ"
  }

  private func withDev(_ body: (Dev) async throws -> Void) async throws {
    guard ProcessInfo.processInfo.environment["TASKBRIDGE_AMQP_URL"] != nil else { throw Missing() }
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("dev-\(UUID().uuidString)").path
    let httpPort = Int.random(in: 20_000...29_999)
    let program = try Program.start(["dev", "--data", folder, "--http", "127.0.0.1:\(httpPort)"])
    defer {
      // Its broker ends with it; one that it left behind is ended by the second signal's way out.
      if program.process.isRunning { program.process.terminate() }
      program.process.waitUntilExit()
      do { try FileManager.default.removeItem(atPath: folder) } catch { Issue.record("\(folder) could not be removed") }
    }
    try await untilReady("http://127.0.0.1:\(httpPort)")
    try await body(Dev(program: program, folder: folder, httpPort: httpPort, broker: try BrokerFile(folder)))
  }

  private func untilReady(_ url: String) async throws {
    try await until("the bridge is ready") { try Program.run(["healthcheck", "--url", url]).status == 0 }
  }

  /// Asks again and again, a process each time, until it is so.
  private func until(_ what: String, _ condition: () throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(90)
    while try !condition() {
      guard ContinuousClock.now < deadline else { throw Overdue(what: what) }
      await Task.yield()
    }
  }

  private struct Overdue: Error, CustomStringConvertible {
    let what: String
    var description: String { "not in time: \(what)" }
  }

  private func isRunning(_ pid: pid_t) -> Bool {
    guard let status = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return false }
    return !String(decoding: status, as: UTF8.self).contains(") Z ")
  }
}
