import Foundation
import Synchronization

/// Everything a row needs: options, scratch folders, the broker, bridges. One row runs at a time.
final class Bench: Sendable {
  let options: BenchOptions
  /// What the bridges of this row said of their durability.
  let durability = Mutex<[String: String]>([:])

  private struct State {
    var root: String?
    var broker: BenchBroker?
    var bridges: [BridgeProcess] = []
    /// Set once it is to end.
    var closing: Task<Void, Never>?
  }

  private let state = Mutex(State())

  init(_ options: BenchOptions) { self.options = options }

  /// The broker, started at the first call.
  func broker() async throws -> BenchBroker {
    if let broker = state.withLock({ $0.broker }) { return broker }
    let broker: BenchBroker
    if let url = options.amqp {
      broker = try BenchBroker.given(url: url, pid: options.brokerPid)
    } else {
      broker = try await BenchBroker.startPrivate(scratch: try scratch("broker"))
    }
    state.withLock { $0.broker = broker }
    return broker
  }

  /// Starts `taskbridge serve` and waits until `/readyz` is 200.
  /// - Parameters:
  ///   - store: folder of the store; nil for a new one. The same folder gives the same names on the broker again.
  ///   - settings: lines of the configuration file, values as YAML, so a mapping is written as JSON. `--set` wins.
  /// - Throws: `BenchError` with its last words when it is not ready after `readySecondsMax`.
  func bridge(
    store: String? = nil, settings: [String: String] = [:], readySecondsMax: Double = 120
  ) async throws -> BridgeProcess {
    let broker = try await broker()
    let folder = try store ?? scratch("store")
    var effective = settings
    for setting in options.settings {
      let parts = setting.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      effective[String(parts[0])] = String(parts[1])
    }
    let bridge = try BridgeProcess(
      binary: try bridgeBinary(), broker: broker.url, storePath: folder, settings: effective,
      scratch: try scratch("bridge"))
    state.withLock { $0.bridges.append(bridge) }
    try await bridge.waitUntilReady(seconds: readySecondsMax)
    var told = try await bridge.durability()
    told["store.file_system"] = ProcessFigures.fileSystem(of: folder)
    durability.withLock { $0.merge(told) { _, new in new } }
    return bridge
  }

  /// A new folder of that name.
  func scratch(_ name: String) throws -> String {
    let root = try state.withLock { state in
      if let root = state.root { return root }
      let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
      let fileSystem = ProcessFigures.fileSystem(of: parent)
      guard fileSystem != "tmpfs", fileSystem != "ramfs" else {
        throw BenchError("\(parent) is kept in memory, where nothing is durable: set TMPDIR to a folder on a disk")
      }
      var template = Array("\(parent)/taskbridge-bench-XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else {
        throw BenchError("no folder under \(parent): \(String(cString: strerror(errno)))")
      }
      let root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      // The node of a private broker runs as another user and writes below.
      chmod(root, 0o755)
      state.root = root
      return root
    }
    var path = "\(root)/\(name)"
    var count = 1
    while FileManager.default.fileExists(atPath: path) {
      count += 1
      path = "\(root)/\(name)-\(count)"
    }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  /// Ends what runs and, unless they are to be kept, removes the files. Whoever calls it waits until that is done.
  func close() async {
    let closing = state.withLock { state in
      if let closing = state.closing { return closing }
      let left = state
      let closing = Task { await self.end(left) }
      state.closing = closing
      return closing
    }
    await closing.value
  }

  private func end(_ left: State) async {
    for bridge in left.bridges { await bridge.stop() }
    await left.broker?.stop()
    guard let root = left.root else { return }
    if options.keepFiles {
      StandardError.say("files are in \(root)")
      return
    }
    do {
      try FileManager.default.removeItem(atPath: root)
    } catch {
      StandardError.say("\(root) could not be removed: \(error)")
    }
  }

  private func bridgeBinary() throws -> String {
    if let path = options.taskbridge { return path }
    let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let path = own.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/taskbridge"
    guard access(path, X_OK) == 0 else {
      throw BenchError("\(path) is missing: build the product taskbridge, or give --taskbridge PATH")
    }
    return path
  }
}

/// Words for people.
enum StandardError {
  static func say(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }
}
