/// How many runs of one task key were where at one instant (contract §3.6).
public struct LoadSample: Sendable, Equatable, JSONWritable {
  public var measured: Timestamp
  /// Nil for the placeholder of an idle minute, and for a sum over task keys.
  public var task: TaskKey?
  /// Blocked, scheduled, paused or adjusting.
  public var pending: Int
  /// Ready, queued or launched.
  public var queued: Int
  /// Running, waiting or cancelling.
  public var running: Int

  public init(measured: Timestamp, task: TaskKey?, pending: Int, queued: Int, running: Int) {
    self.measured = measured
    self.task = task
    self.pending = pending
    self.queued = queued
    self.running = running
  }

  public static let pendingStates: [RunState] = [.blocked, .scheduled, .paused, .adjusting]
  public static let queuedStates: [RunState] = [.ready, .queued, .launched]
  public static let runningStates: [RunState] = [.running, .waiting, .cancelling]

  public var total: Int { pending + queued + running }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("measured", measured)
      json.member("task", task?.rawValue)
      json.member("pending", pending)
      json.member("queued", queued)
      json.member("running", running)
      json.member("total", total)
    }
  }
}

/// Which page of the load samples.
public struct LoadQuery: Sendable, Equatable {
  /// Longest period of one question, days.
  public static let daysMax = 31.0
  static let daysDefault = 7.0
  static let names = ["started", "ended", "task", "sort", "group_by"]

  public enum Sort: String, Sendable, CaseIterable {
    case ascending = "measured"
    case descending = "-measured"
  }

  public enum Grouping: String, Sendable, CaseIterable {
    /// One item an instant, the task keys added up.
    case time
  }

  /// Both inclusive.
  public var started: Timestamp
  public var ended: Timestamp
  /// Empty: all.
  public var tasks: [TaskKey] = []
  public var sort = Sort.ascending
  public var grouping: Grouping?
  public var limit = 50
  public var cursor: PageCursor?

  /// What binds a cursor to its list.
  public var scope: String { "queue/load/\(sort.rawValue)/\(grouping?.rawValue ?? "")" }

  /// - Throws: 422 for unknown names, wrong values, a period that is longer than ``daysMax`` or ends before it starts;
  ///   400 `invalid_cursor`.
  public init(parameters: [Parameter], now: Timestamp) throws(Problem) {
    var reader = ParameterReader(parameters)
    let page = PageRequest(&reader)
    limit = page.limit
    let (from, to) = (reader.time("started"), reader.time("ended"))
    ended = to ?? from.map { min(now, $0.adding(seconds: Self.daysMax * 86_400)) } ?? now
    started = from ?? ended.adding(seconds: -Self.daysDefault * 86_400)
    for parameter in reader.all("task") {
      if let task = reader.task(parameter) { tasks.append(task) }
    }
    sort = reader.word("sort", as: Sort.self) ?? .ascending
    grouping = reader.word("group_by", as: Grouping.self)
    if ended < started {
      reader.refuse("?ended", "ended \(ended) is before started \(started)")
    } else if ended.seconds(since: started) > Self.daysMax * 86_400 {
      reader.refuse(
        "?started", "\(started) to \(ended) is longer than \(Int(Self.daysMax)) days; ask for shorter periods")
    }
    try reader.finish(known: Self.names + PageRequest.names)
    cursor = try page.cursor(of: scope)
  }
}
