import Foundation
import Logging
import Synchronization
import TaskBridgeCore
import TaskBridgeEngine
import TaskBridgeHTTP

/// A bridge without a broker and its HTTP server on a free port, in a folder that is removed afterwards.
func withServer<T: Sendable>(
  _ change: (inout TaskBridgeConfiguration) -> Void = { _ in },
  _ body: @escaping @Sendable (HTTPClient, TaskBridge) async throws -> T
) async throws -> T {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("taskbridge-http-\(UUID().uuidString)")
  defer {
    do { try FileManager.default.removeItem(at: folder) } catch { print("left behind: \(folder.path): \(error)") }
  }
  var configuration = TaskBridgeConfiguration()
  configuration.dataDirectory = folder.path
  change(&configuration)
  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  let bridge = try TaskBridge.open(configuration, logger: logger) { _ in }
  let (ports, port) = AsyncStream.makeStream(of: Int.self)
  let server = HTTPServer(bridge: bridge, host: "127.0.0.1", port: 0, logger: logger) { port.yield($0) }
  let result = try await withThrowingTaskGroup(of: T?.self) { group in
    group.addTask {
      try await server.run()
      return nil
    }
    group.addTask {
      var iterator = ports.makeAsyncIterator()
      guard let port = await iterator.next() else { throw CancellationError() }
      return try await body(HTTPClient(port: port), bridge)
    }
    defer { group.cancelAll() }
    while let result = try await group.next() {
      if let result { return result }
    }
    throw CancellationError()
  }
  await bridge.close()
  return result
}
