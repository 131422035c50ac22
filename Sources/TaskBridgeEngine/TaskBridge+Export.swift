public import TaskBridgeCore
import TaskBridgeStore

/// Dead letters as lines of JSON, some at a time, so that any number of them needs little memory.
public actor DeadLetterExport {
  /// Most dead letters looked up at once.
  static let chunk = 500
  /// A chunk ends with the line that passes this.
  static let chunkBytesMax = 1 << 20

  private let bridge: TaskBridge
  private let request: BulkRequest
  private let asOf: Timestamp
  private var cursor: Int64?
  private var isAtEnd = false

  init(_ bridge: TaskBridge, _ request: BulkRequest, asOf: Timestamp) {
    self.bridge = bridge
    self.request = request
    self.asOf = asOf
  }

  /// The next lines, each with its line end; nil after the last.
  public func next() async throws(Problem) -> [UInt8]? {
    while !isAtEnd {
      let (request, after) = (request, cursor)
      let cutoff = Cutoff(asOf: asOf, now: bridge.now())
      let found = try await bridge.reading { transaction throws(StoreError) in
        try transaction.deadLetterLines(
          request, cutoff, after: after, limit: Self.chunk, bytesMax: Self.chunkBytesMax)
      }
      guard let found else {
        isAtEnd = true
        return nil
      }
      cursor = found.last
      if !found.lines.isEmpty { return found.lines }
    }
    return nil
  }
}

extension TaskBridge {
  /// The unresolved dead letters that `request` means, oldest submission first; looking changes nothing.
  public func export(_ request: BulkRequest, asOf: Timestamp?) -> DeadLetterExport {
    let now = now()
    return DeadLetterExport(self, request, asOf: min(asOf ?? now, now))
  }
}
