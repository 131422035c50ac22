/// What a worker says about its attempt.
public enum ReportedState: String, CaseIterable, Sendable {
  case running
  case heartbeat
  case progress
  case completed
  case failed
  case resourceError = "resource_error"
  case snoozed
  case cancelled
}

/// Why an attempt failed, in the worker's words.
public struct WorkerError: Equatable, Sendable {
  public var type: String?
  public var message: String?
  /// Whether another attempt may help.
  public var retryable: Bool
  /// A JSON value as the worker wrote it.
  public var details: [UInt8]?
  public var traceback: String?

  public init(
    type: String? = nil, message: String? = nil, retryable: Bool = true, details: [UInt8]? = nil,
    traceback: String? = nil
  ) {
    self.type = type
    self.message = message
    self.retryable = retryable
    self.details = details
    self.traceback = traceback
  }
}

/// How far an attempt is.
public struct WorkerProgress: Equatable, Sendable {
  /// 0...100.
  public var percent: Double?
  public var message: String?
  public var bytesDone: Int64?
  public var bytesTotal: Int64?

  public init(percent: Double? = nil, message: String? = nil, bytesDone: Int64? = nil, bytesTotal: Int64? = nil) {
    self.percent = percent
    self.message = message
    self.bytesDone = bytesDone
    self.bytesTotal = bytesTotal
  }
}

/// What an attempt has used.
public struct WorkerUsage: Equatable, Sendable {
  public var wallclockSeconds: Double?
  public var cpuSeconds: Double?
  public var maxRSSBytes: Int64?
  public var readBytes: Int64?
  public var writeBytes: Int64?

  public init(
    wallclockSeconds: Double? = nil, cpuSeconds: Double? = nil, maxRSSBytes: Int64? = nil, readBytes: Int64? = nil,
    writeBytes: Int64? = nil
  ) {
    self.wallclockSeconds = wallclockSeconds
    self.cpuSeconds = cpuSeconds
    self.maxRSSBytes = maxRSSBytes
    self.readBytes = readBytes
    self.writeBytes = writeBytes
  }
}

/// One report of a worker, read and bounded; fields that it did not have are `nil`.
public struct WorkerReport: Equatable, Sendable {
  /// 1...200 bytes; not verified yet.
  public var token: String
  public var state: ReportedState
  public var worker: String?
  public var node: String?
  public var claim: String?
  /// 1...86,400.
  public var nextReportSeconds: Double?
  public var progress: WorkerProgress?
  /// A JSON value as the worker wrote it.
  public var result: [UInt8]?
  public var usage: WorkerUsage?
  public var error: WorkerError?
  /// At least 0.
  public var retryAfterSeconds: Double?
  /// The last 10,000 characters.
  public var stdout: String?
  public var stderr: String?
  /// The worker's own clock: stored, never decided by.
  public var at: Timestamp?
  /// What was clamped, cut or dropped, for the answer's `detail`.
  public var notes: [String]

  public init(
    token: String, state: ReportedState, worker: String? = nil, node: String? = nil, claim: String? = nil,
    nextReportSeconds: Double? = nil, progress: WorkerProgress? = nil, result: [UInt8]? = nil,
    usage: WorkerUsage? = nil, error: WorkerError? = nil, retryAfterSeconds: Double? = nil, stdout: String? = nil,
    stderr: String? = nil, at: Timestamp? = nil, notes: [String] = []
  ) {
    self.token = token
    self.state = state
    self.worker = worker
    self.node = node
    self.claim = claim
    self.nextReportSeconds = nextReportSeconds
    self.progress = progress
    self.result = result
    self.usage = usage
    self.error = error
    self.retryAfterSeconds = retryAfterSeconds
    self.stdout = stdout
    self.stderr = stderr
    self.at = at
    self.notes = notes
  }
}

/// A report as it came in, over AMQP or HTTP.
public struct ReportMessage: Equatable, Sendable {
  public var body: [UInt8]
  public var correlationID: String?
  public var type: String?
  public var headers: [String: HeaderValue]

  public init(
    body: [UInt8], correlationID: String? = nil, type: String? = nil, headers: [String: HeaderValue] = [:]
  ) {
    self.body = body
    self.correlationID = correlationID
    self.type = type
    self.headers = headers
  }
}

extension WorkerError: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("type", type)
      json.member("message", message)
      json.member("retryable", retryable)
      if let details { json.member("details", raw: details) }
      if let traceback { json.member("traceback", traceback) }
    }
  }
}

extension WorkerProgress: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      if let percent { json.member("percent", percent) }
      if let message { json.member("message", message) }
      if let bytesDone { json.member("bytes_done", bytesDone) }
      if let bytesTotal { json.member("bytes_total", bytesTotal) }
    }
  }
}

extension WorkerUsage: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      if let wallclockSeconds { json.member("wallclock_seconds", wallclockSeconds) }
      if let cpuSeconds { json.member("cpu_seconds", cpuSeconds) }
      if let maxRSSBytes { json.member("max_rss_bytes", maxRSSBytes) }
      if let readBytes { json.member("read_bytes", readBytes) }
      if let writeBytes { json.member("write_bytes", writeBytes) }
    }
  }
}
