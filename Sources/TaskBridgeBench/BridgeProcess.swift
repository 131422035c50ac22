import Foundation
import Synchronization
import TaskBridgeCore

/// One `taskbridge serve` under measurement.
final class BridgeProcess: Sendable {
  let pid: Int32
  let httpPort: Int
  /// Folder of the store.
  let storePath: String
  /// Names of its objects on the broker.
  let names: BridgeNames
  /// From the start of the process until `/readyz` was 200; 0 before.
  var readySeconds: Double { ready.withLock { $0 } }

  private let child: ChildProcess
  private let startedAt = ContinuousClock.now
  private let ready = Mutex(0.0)

  /// The store itself.
  var databasePath: String { storePath + "/taskbridge.db" }

  /// Starts the process; it is not ready yet.
  init(binary: String, broker: String, storePath: String, settings: [String: String], scratch: String) throws {
    httpPort = try LoopbackPort.free()
    self.storePath = storePath
    // The broker carries a marker of the store that owns a prefix, so each store has a prefix of its own.
    let prefix = settings["prefix"] ?? "bench-\(BridgeNames.shortHash(storePath))"
    names = BridgeNames(prefix: prefix)
    var lines = ["prefix: \(prefix)", "log_level: \(settings["log_level"] ?? "warning")"]
    for key in settings.keys.sorted() where key != "prefix" && key != "log_level" {
      lines.append("\(key): \(settings[key] ?? "")")
    }
    let configuration = scratch + "/taskbridge.yaml"
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: URL(fileURLWithPath: configuration))
    child = try ChildProcess.start(
      binary,
      [
        "serve", "--config", configuration, "--amqp", broker, "--data", storePath, "--http", "127.0.0.1:\(httpPort)",
      ], outputPath: scratch + "/bridge.log")
    pid = child.pid
  }

  /// - Throws: `BenchError` when it ends or is not ready after `seconds`.
  func waitUntilReady(seconds: Double) async throws {
    while true {
      guard child.isRunning else { throw BenchError("the bridge ended:\n\(child.lastWords)") }
      if let answer = try? await HTTPProbe.call(port: httpPort, "/readyz", seconds: 5), answer.status == 200 { break }
      guard ContinuousClock.now - startedAt < .seconds(seconds) else {
        throw BenchError("the bridge is not ready after \(seconds) s:\n\(child.lastWords)")
      }
      try await Task.sleep(for: .milliseconds(5))
    }
    let took = (ContinuousClock.now - startedAt).seconds
    ready.withLock { $0 = took }
  }

  /// SIGTERM, and SIGKILL after 30 s.
  func stop() async { await child.stop(seconds: 30) }

  func kill9() async { await child.kill9() }

  /// CPU time so far, in steps of 10 ms.
  func cpu() -> (user: Double, system: Double) {
    let cpu = ProcessFigures.cpu(pid)
    return (cpu.user, cpu.system)
  }

  func residentBytes() -> Int { ProcessFigures.residentBytes(pid) }

  func peakResidentBytes() -> Int { ProcessFigures.peakResidentBytes(pid) }

  /// `GET /v1/snapshot`.
  func snapshot() async throws -> JSONObject {
    try await get("/v1/snapshot")
  }

  /// The JSON object that a route answers with.
  /// - Throws: `BenchError` for every status but 200.
  func get(_ path: String) async throws -> JSONObject {
    let answer = try await HTTPProbe.call(port: httpPort, path)
    guard answer.status == 200, let object = try answer.json().objectValue else {
      throw BenchError("\(path) answered \(answer.status): \(String(decoding: answer.body.prefix(400), as: UTF8.self))")
    }
    return object
  }

  /// Runs in `state`, as the snapshot counts them.
  func count(_ state: RunState) async throws -> Int {
    Int(try await snapshot()["counts"]?.objectValue?[state.rawValue]?.int64Value ?? 0)
  }

  /// Waits until that many runs are in `state`.
  /// - Throws: `BenchError` with the last count after `seconds`.
  func waitForCount(_ state: RunState, _ wanted: Int, seconds: Double) async throws {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      let count = try await count(state)
      if count == wanted { return }
      guard ContinuousClock.now < deadline else {
        throw BenchError("\(count) runs are \(state.rawValue) after \(seconds) s, not \(wanted)")
      }
      try await Task.sleep(for: .milliseconds(200))
    }
  }

  /// What the running bridge says of its durability; empty when it says nothing.
  func durability() async throws -> [String: String] {
    let store = try await snapshot()["store"]?.objectValue
    var told: [String: String] = [:]
    for key in ["synchronous", "journal_mode"] {
      switch store?[key] {
      case .string(let text): told["store.\(key)"] = text
      case .number(let number): told["store.\(key)"] = number.text
      case .null, .bool, .array, .object, nil: break
      }
    }
    return told
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
