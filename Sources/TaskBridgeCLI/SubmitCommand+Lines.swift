import Foundation

/// `submit --lines`: one submission a line, as `dead-letters export` writes them.
struct LineSubmission {
  /// Most lines and bytes of one transaction.
  static let linesMax = 1_000
  static let bytesMax = 32 << 20

  let client: BridgeClient
  let printer: Printer
  private var batch: [UInt8] = []
  private var batchLines = 0
  private var submitted = 0
  private var outcomes: [String: Int] = [:]

  init(client: BridgeClient, printer: Printer) {
    self.client = client
    self.printer = printer
  }

  /// Submits every line of the file (`-`: stdin) and prints what became of them.
  /// - Throws: `CommandFailure`; what was submitted before stays so, and is said.
  mutating func submit(_ path: String) async throws {
    let handle = path == "-" ? FileHandle.standardInput : FileHandle(forReadingAtPath: path)
    guard let handle else {
      throw CommandFailure.usage("cannot read '\(Escaping.visible(path))': \(String(cString: strerror(errno)))")
    }
    var rest: [UInt8] = []
    while let data = try handle.read(upToCount: 1 << 16), !data.isEmpty {
      rest += data
      while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        try await add(rest[...end])
        rest.removeFirst(end + 1)
      }
    }
    try await add(rest[...])
    try await send()
    printer.one(summary) { answer in
      var properties = Properties()
      properties.add("submitted", answer["submitted"]?.text)
      for (outcome, count) in answer["outcomes"]?.members ?? [] { properties.add(outcome, count.text) }
      return properties
    }
  }

  private var summary: [UInt8] {
    var counts = JSONObjectText()
    for (outcome, count) in outcomes.sorted(by: { $0.key < $1.key }) { counts.add(outcome, count) }
    var object = JSONObjectText()
    object.add("submitted", submitted)
    object.add("outcomes", object: counts)
    return object.bytes
  }

  private mutating func add(_ line: ArraySlice<UInt8>) async throws {
    guard !line.allSatisfy({ $0 == 10 || $0 == 13 || $0 == 32 || $0 == 9 }) else { return }
    if batchLines == Self.linesMax || batch.count + line.count > Self.bytesMax { try await send() }
    batch += line
    batchLines += 1
  }

  private mutating func send() async throws {
    guard batchLines > 0 else { return }
    do {
      let answer = try await client.call(
        "POST", "/v1/runs/batch", body: batch, contentType: "application/x-ndjson")
      for item in answer.json["items"]?.elements ?? [] { outcomes[item["outcome"]?.string ?? "?", default: 0] += 1 }
    } catch let failure as CommandFailure {
      if submitted > 0 { StandardError.say("\(submitted) lines before were submitted") }
      throw failure
    }
    submitted += batchLines
    batch = []
    batchLines = 0
  }
}
