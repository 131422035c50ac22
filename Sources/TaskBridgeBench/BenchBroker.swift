import AMQPClient
import Foundation
import Logging
import TaskBridgeCore

/// The broker of the measurement: a private node, or the one of `--amqp`.
final class BenchBroker: Sendable {
  static let startSeconds = 100.0

  let url: String
  /// Of the node itself; nil for a broker that was given without `--broker-pid`.
  let pid: Int32?
  let configuration: AMQPConfiguration
  /// Set when the node is ours to end.
  private let child: ChildProcess?

  private init(url: String, pid: Int32?, child: ChildProcess?) throws {
    self.url = url
    self.pid = pid
    self.child = child
    configuration = try AMQPConfiguration(url: url)
  }

  /// The first endpoint's port.
  var port: Int { configuration.endpoints.first?.port ?? 5672 }

  /// CPU time of the broker so far; nil when its process is not known.
  func cpu() -> CPUTime? { pid.map { ProcessFigures.cpu($0) } }

  static func given(url: String, pid: Int32?) throws -> BenchBroker {
    try BenchBroker(url: url, pid: pid, child: nil)
  }

  /// Starts a private node by `scripts/broker.py` of the checkout around the current directory.
  /// - Throws: `BenchError` when there is no checkout or the node does not start.
  static func startPrivate(scratch: String) async throws -> BenchBroker {
    let script = try Checkout.path("scripts/broker.py")
    let facts = scratch + "/broker.json"
    let child = try ChildProcess.start(
      "/usr/bin/python3", [script, "run", "--facts", facts], outputPath: scratch + "/broker.log")
    let deadline = ContinuousClock.now + .seconds(startSeconds)
    do {
      while !FileManager.default.fileExists(atPath: facts) {
        guard child.isRunning else { throw BenchError("the broker does not start:\n\(child.lastWords)") }
        guard ContinuousClock.now < deadline else { throw BenchError("the broker did not start in \(startSeconds) s") }
        try await Task.sleep(for: .milliseconds(100))
      }
      let told = try JSONValue.parse(ProcessFigures.text(facts) ?? "").objectValue
      guard let url = told?["url"]?.stringValue, let pid = told?["pid"]?.int64Value else {
        throw BenchError("\(facts) does not name the broker")
      }
      return try BenchBroker(url: url, pid: Int32(pid), child: child)
    } catch {
      await child.stop(seconds: 40)
      throw error
    }
  }

  /// A new connection.
  func connect(_ name: String) async throws -> AMQPConnection {
    var configuration = configuration
    configuration.connectionName = name
    return try await AMQPConnection.open(configuration, logger: Logger(label: name))
  }

  func stop() async {
    await child?.stop(seconds: 40)
  }
}

/// The source tree this program was built from, found from the current directory upwards.
enum Checkout {
  static func path(_ name: String) throws -> String {
    var folder = FileManager.default.currentDirectoryPath
    while true {
      let path = folder + "/" + name
      if FileManager.default.fileExists(atPath: path) { return path }
      guard folder != "/", let slash = folder.lastIndex(of: "/") else {
        throw BenchError("\(name) was not found: start this in a checkout of TaskBridge, or give --amqp URL")
      }
      folder = slash == folder.startIndex ? "" : String(folder[..<slash])
      if folder.isEmpty {
        throw BenchError("\(name) was not found: start this in a checkout of TaskBridge, or give --amqp URL")
      }
    }
  }
}
