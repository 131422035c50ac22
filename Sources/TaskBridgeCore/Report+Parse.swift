extension WorkerReport {
  /// The longest token, in bytes.
  public static let tokenBytesMax = 200
  /// The longest claim, and worker's and node's name, in bytes.
  public static let nameBytesMax = 512
  /// What is kept of `stdout`, `stderr` and a traceback: the last so many characters (Unicode scalars).
  public static let outputCharactersMax = 10_000
  /// A report without its `stdout` and `stderr`, in bytes.
  public static let bodyBytesMax = 4_194_304

  /// Reads a report (contract §2.3). The token comes from the correlation id, else a header, else the body; the state
  /// from the body, else a header, else the type. What can be done without is clamped or dropped with a note.
  /// - Throws: a `Problem` with code `malformed`, 400 for what can't be read, else 422.
  public static func parse(_ message: ReportMessage) throws(Problem) -> WorkerReport {
    if let fault = headerFault(message.headers) { throw Problem(400, "malformed", fault) }
    var body = ReportBody()
    if !message.body.isEmpty {
      do {
        try message.body.withUnsafeBufferPointer { (bytes) throws(JSONError) in try body.read(bytes) }
      } catch {
        throw Problem(400, "malformed", "the body of the report is not valid JSON: \(error)")
      }
      if let kind = body.kindThatIsNoObject {
        throw Problem(422, "malformed", "the body of the report is \(kind); allowed: an object or nothing")
      }
      if message.body.count - body.outputBytes > bodyBytesMax {
        throw Problem(
          422, "malformed",
          "the report is \(message.body.count) bytes, at most \(bodyBytesMax) without its output; pass a reference")
      }
    }
    let token = try token(of: message, body)
    let state = try state(of: message, body)
    if let claim = body.claim, claim.stringValue == nil { throw claimProblem(claim) }
    if let claim = body.claim?.stringValue, claim.utf8.count > nameBytesMax {
      throw Problem(422, "malformed", "the claim is \(claim.utf8.count) bytes, at most \(nameBytesMax) are allowed")
    }
    if let seconds = body.negativeRetryAfter {
      throw Problem(
        422, "malformed", "retry_after_seconds is \(seconds.kind); allowed: a number of at least 0, or leave it out")
    }
    var report = body.report
    report.token = token
    report.state = state
    report.claim = body.claim?.stringValue
    return report
  }

  private static func claimProblem(_ claim: JSONValue) -> Problem {
    Problem(422, "malformed", "the claim is \(claim.kind); allowed: a string that the worker makes up")
  }

  private static func token(of message: ReportMessage, _ body: ReportBody) throws(Problem) -> String {
    let token: String
    if let correlationID = message.correlationID, !correlationID.isEmpty {
      token = correlationID
    } else if let header = message.headers["tb-token"], header != .null {
      token = header.text ?? ""
    } else if let value = body.token {
      guard let text = value.stringValue else {
        throw Problem(422, "malformed", "the token is \(value.kind); allowed: the string that came with the run")
      }
      token = text
    } else {
      token = ""
    }
    if token.isEmpty {
      throw Problem(
        422, "malformed",
        "the report has no token; echo the run's correlation_id as correlation_id, header tb-token or field token")
    }
    if token.utf8.count > tokenBytesMax {
      throw Problem(422, "malformed", "the token is \(token.utf8.count) bytes, at most \(tokenBytesMax) are allowed")
    }
    return token
  }

  private static func state(of message: ReportMessage, _ body: ReportBody) throws(Problem) -> ReportedState {
    let value: JSONValue?
    if let state = body.state {
      value = state
    } else if let header = message.headers["tb-state"] {
      value = header.jsonValue ?? .string("bytes that are no text")
    } else {
      value = message.type.flatMap { $0.isEmpty ? nil : .string($0) }
    }
    if let state = value?.stringValue.flatMap(ReportedState.init(rawValue:)) { return state }
    let names = ReportedState.allCases.map(\.rawValue)
    let what = value.map { "the state is \($0.kind)" } ?? "the report has no state"
    throw Problem(422, "malformed", "\(what); allowed: \(names.joined(separator: ", "))", allowed: names)
  }
}

/// The members of a report's body, read one by one without a tree of the whole: reports come by the thousand.
private struct ReportBody {
  /// Token and state are filled in later.
  var report = WorkerReport(token: "", state: .running)
  var token: JSONValue?
  var state: JSONValue?
  var claim: JSONValue?
  /// A time in the past cannot be kept: the worker means something else.
  var negativeRetryAfter: JSONValue?
  var kindThatIsNoObject: String?
  /// How many bytes of the body are `stdout` and `stderr`.
  var outputBytes = 0

  mutating func read(_ bytes: UnsafeBufferPointer<UInt8>) throws(JSONError) {
    var parser = try JSONParser(bytes)
    guard parser.next == UInt8(ascii: "{") else {
      kindThatIsNoObject = try parser.value().kind
      return try parser.end()
    }
    try parser.members { (parser, key) throws(JSONError) in try readMember(key, &parser) }
    try parser.end()
  }

  private mutating func readMember(_ key: String, _ parser: inout JSONParser) throws(JSONError) {
    switch key {
    case "token": token = try present(&parser)
    // A state of null is a mistake and not an absent one.
    case "state": state = try parser.value()
    case "claim": claim = try present(&parser)
    case "worker": report.worker = name(key, try present(&parser))
    case "node": report.node = name(key, try present(&parser))
    case "next_report_seconds": report.nextReportSeconds = nextReport(try present(&parser))
    case "retry_after_seconds":
      let value = try present(&parser)
      if let number = value?.doubleValue, number < 0 { negativeRetryAfter = value }
      report.retryAfterSeconds = negativeRetryAfter == nil ? number(key, value) : nil
    case "progress": report.progress = progress(try present(&parser))
    case "usage": report.usage = usage(try present(&parser))
    case "error": report.error = try error(&parser)
    case "result": report.result = try slice(&parser)
    case "stdout": report.stdout = try output(key, &parser)
    case "stderr": report.stderr = try output(key, &parser)
    case "at": report.at = time(try present(&parser))
    default: try parser.skipValue()
    }
  }

  private mutating func note(_ text: String) { report.notes.append(text) }

  /// The next value; `nil` for `null`, which is the same as not there.
  private func present(_ parser: inout JSONParser) throws(JSONError) -> JSONValue? {
    let value = try parser.value()
    return value.isNull ? nil : value
  }

  private func slice(_ parser: inout JSONParser) throws(JSONError) -> [UInt8]? {
    let isNull = parser.next == UInt8(ascii: "n")
    let range = try parser.skipValue()
    return isNull ? nil : parser.slice(range)
  }

  private mutating func dropped(_ name: String, _ value: JSONValue, _ allowed: String) {
    note("\(name) \(value.kind) was dropped; allowed: \(allowed)")
  }

  private mutating func name(_ name: String, _ value: JSONValue?) -> String? {
    guard let value else { return nil }
    guard let text = value.stringValue else {
      dropped(name, value, "a string")
      return nil
    }
    if text.utf8.count <= WorkerReport.nameBytesMax { return text }
    note("\(name) was cut to \(WorkerReport.nameBytesMax) bytes")
    return text.cut(toBytes: WorkerReport.nameBytesMax)
  }

  private mutating func text(_ name: String, _ value: JSONValue?, max: Int) -> String? {
    guard let value else { return nil }
    guard let text = value.stringValue else {
      dropped(name, value, "a string")
      return nil
    }
    if text.unicodeScalars.count <= max { return text }
    note("\(name) was cut to its first \(max) characters")
    return String(String.UnicodeScalarView(text.unicodeScalars.prefix(max)))
  }

  private mutating func number(_ name: String, _ value: JSONValue?) -> Double? {
    guard let value else { return nil }
    guard let number = value.doubleValue, number >= 0 else {
      dropped(name, value, "a number of at least 0")
      return nil
    }
    return number > 0 ? number : 0
  }

  private mutating func bytes(_ name: String, _ value: JSONValue?) -> Int64? {
    guard let value else { return nil }
    if let number = value.int64Value, number >= 0 { return number }
    if let number = value.doubleValue, number >= 0, number < 9e18 { return Int64(number.rounded()) }
    dropped(name, value, "a number of at least 0")
    return nil
  }

  private mutating func nextReport(_ value: JSONValue?) -> Double? {
    guard let value else { return nil }
    guard case .number(let written) = value else {
      dropped("next_report_seconds", value, "a number from 1 to 86400")
      return nil
    }
    // Beyond any double is beyond the range too.
    let number = Double(written.text) ?? 0
    let clamped = min(max(number, 1), 86_400)
    if clamped != number {
      note("next_report_seconds \(value.kind) was taken as \(Int(clamped)); allowed: 1 to 86400")
    }
    return clamped
  }

  private mutating func progress(_ value: JSONValue?) -> WorkerProgress? {
    guard let value else { return nil }
    guard let object = value.objectValue else {
      dropped("progress", value, "an object with percent, message, bytes_done, bytes_total")
      return nil
    }
    var progress = WorkerProgress()
    if let value = object["percent"], !value.isNull {
      if let percent = value.doubleValue {
        progress.percent = min(max(percent, 0), 100)
        if progress.percent != percent { note("percent \(value.kind) was clamped; allowed: 0 to 100") }
      } else {
        dropped("percent", value, "a number from 0 to 100")
      }
    }
    progress.message = text("progress.message", object.present("message"), max: 1000)
    progress.bytesDone = bytes("bytes_done", object.present("bytes_done"))
    progress.bytesTotal = bytes("bytes_total", object.present("bytes_total"))
    if let done = progress.bytesDone, let total = progress.bytesTotal, done > total {
      note("bytes_done \(done) was taken as bytes_total, \(total)")
      progress.bytesDone = total
    }
    return progress
  }

  private mutating func usage(_ value: JSONValue?) -> WorkerUsage? {
    guard let value else { return nil }
    guard let object = value.objectValue else {
      dropped("usage", value, "an object")
      return nil
    }
    return WorkerUsage(
      wallclockSeconds: number("wallclock_seconds", object.present("wallclock_seconds")),
      cpuSeconds: number("cpu_seconds", object.present("cpu_seconds")),
      maxRSSBytes: bytes("max_rss_bytes", object.present("max_rss_bytes")),
      readBytes: bytes("read_bytes", object.present("read_bytes")),
      writeBytes: bytes("write_bytes", object.present("write_bytes")))
  }

  /// An object by the contract; a bare text is taken for the message.
  private mutating func error(_ parser: inout JSONParser) throws(JSONError) -> WorkerError? {
    guard parser.next == UInt8(ascii: "{") else {
      guard let value = try present(&parser) else { return nil }
      return WorkerError(message: text("error", value, max: WorkerReport.outputCharactersMax))
    }
    var error = WorkerError()
    try parser.members { (parser, key) throws(JSONError) in
      switch key {
      case "type": error.type = text("error.type", try present(&parser), max: 256)
      case "message":
        error.message = text("error.message", try present(&parser), max: WorkerReport.outputCharactersMax)
      case "retryable":
        guard let value = try present(&parser) else { return }
        if let flag = value.boolValue {
          error.retryable = flag
        } else {
          dropped("error.retryable", value, "true or false")
        }
      case "details": error.details = try slice(&parser)
      case "traceback": error.traceback = try output("error.traceback", &parser)
      default: try parser.skipValue()
      }
    }
    return error
  }

  private mutating func output(_ name: String, _ parser: inout JSONParser) throws(JSONError) -> String? {
    let start = parser.at
    guard let value = try present(&parser) else { return nil }
    outputBytes += parser.at - start
    guard let text = value.stringValue else {
      dropped(name, value, "a string")
      return nil
    }
    // Cheap for what is short: no text has more characters than bytes.
    if text.utf8.count <= WorkerReport.outputCharactersMax { return text }
    let scalars = text.unicodeScalars
    let kept = scalars.suffix(WorkerReport.outputCharactersMax)
    guard kept.startIndex > scalars.startIndex else { return text }
    note("\(name) was cut to its last \(WorkerReport.outputCharactersMax) characters")
    return String(String.UnicodeScalarView(kept))
  }

  private mutating func time(_ value: JSONValue?) -> Timestamp? {
    guard let value else { return nil }
    do {
      if let text = value.stringValue { return try Timestamp(rfc3339: text) }
    } catch {
      // Noted below: the worker's clock is only stored.
    }
    dropped("at", value, "RFC 3339 with a zone, such as 2026-11-20T23:39:00.123Z")
    return nil
  }
}

extension JSONObject {
  /// The value of a member that is there and not `null`.
  fileprivate func present(_ key: String) -> JSONValue? {
    guard let value = self[key], !value.isNull else { return nil }
    return value
  }
}

extension String {
  /// The longest front of whole characters (Unicode scalars) that fits into so many bytes.
  func cut(toBytes bytesMax: Int) -> String {
    var end = startIndex
    var bytes = 0
    for (index, scalar) in zip(unicodeScalars.indices, unicodeScalars) {
      bytes += UTF8.width(scalar)
      if bytes > bytesMax { break }
      end = unicodeScalars.index(after: index)
    }
    return String(self[..<end])
  }
}
