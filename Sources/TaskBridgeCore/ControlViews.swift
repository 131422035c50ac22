/// One task key as callers see it (`contract.md` §3.6).
public struct TaskView: Sendable, JSONWritable {
  public var at: Timestamp
  public var line: SnapshotView.TaskLine

  public init(at: Timestamp, line: SnapshotView.TaskLine) {
    self.at = at
    self.line = line
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("key", line.key.rawValue)
      json.member("paused", line.pause != nil)
      json.member("paused_until", line.pause?.until)
      json.key("settings")
      if let settings = line.settings { json.raw(settings.utf8) } else { json.raw("{}".utf8) }
      for state in [RunState.blocked, .scheduled, .ready, .queued, .launched, .running] {
        json.member(state.rawValue, line.counts[state] ?? 0)
      }
      json.member("dead", line.dead)
      json.member("consumers", line.consumers)
      json.member("oldest_ready_seconds", line.readySince.map { max(0, at.seconds(since: $0)) })
    }
  }
}

/// One group as callers see it.
public struct GroupView: Sendable, JSONWritable {
  public var name: String
  public var pause: Pause?
  public var settings: GroupSettings
  /// Of the states that are ready or hold a slot.
  public var counts: [RunState: Int]

  public init(name: String, pause: Pause?, settings: GroupSettings, counts: [RunState: Int]) {
    self.name = name
    self.pause = pause
    self.settings = settings
    self.counts = counts
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("name", name)
      json.member("paused", pause != nil)
      json.member("paused_until", pause?.until)
      json.member("settings", settings)
      for state in [RunState.ready, .queued, .launched, .running] { json.member(state.rawValue, counts[state] ?? 0) }
    }
  }
}

/// Whether the bridge or a domain is paused.
public struct PauseView: Sendable, JSONWritable {
  public var subject: ControlSubject
  public var pause: Pause?

  public init(subject: ControlSubject, pause: Pause?) {
    self.subject = subject
    self.pause = pause
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      if !subject.name.isEmpty { json.member(subject.kind, subject.name) }
      json.member("paused", pause != nil)
      json.member("paused_since", pause?.since)
      json.member("paused_until", pause?.until)
      json.member("reason", pause?.reason)
      json.member("actor", pause?.actor)
    }
  }
}

/// What waits in one task key (`GET /v1/queue/status`).
public struct QueueStatusView: Sendable, Equatable, JSONWritable {
  public var task: TaskKey
  /// Ready, queued and launched runs.
  public var count = 0
  public var ready = 0
  /// Since when the one that waits longest is due; nil when none waits.
  public var longestQueued: Timestamp?
  /// The smallest number.
  public var highestPriority: Int?
  public var isPaused = false

  public init(task: TaskKey) { self.task = task }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("task", task.rawValue)
      json.member("count", count)
      json.member("ready", ready)
      json.member("longest_queued", longestQueued)
      json.member("highest_priority", highestPriority)
      json.member("paused", isPaused)
    }
  }

  /// Not paused first, then the most urgent, then the longest waiting; what is empty comes last.
  public var rank: [PageCursor.Part] {
    [
      .integer(isPaused ? 1 : 0), .integer(Int64(highestPriority ?? 256)),
      .integer(longestQueued?.milliseconds ?? .max), .text(task.rawValue),
    ]
  }

  /// Whether a line of `rank` stands before one of `other`.
  public static func isBefore(_ rank: [PageCursor.Part], _ other: [PageCursor.Part]) -> Bool {
    for (left, right) in zip(rank, other) {
      switch (left, right) {
      case (.integer(let left), .integer(let right)): if left != right { return left < right }
      case (.text(let left), .text(let right)): if left != right { return left < right }
      case (.null, _), (.integer, _), (.text, _): return false
      }
    }
    return false
  }
}

/// Which page of a list by name, or of another short one that is sorted in memory.
public struct ListQuery: Sendable, Equatable {
  public var scope: String
  public var limit: Int
  /// The place of the last item of the page before.
  public var cursor: PageCursor?

  /// - Parameter scope: the list, which binds its cursors.
  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter], scope: String) throws(Problem) {
    var reader = ParameterReader(parameters)
    let page = PageRequest(&reader)
    try reader.finish(known: PageRequest.names)
    self.scope = scope
    limit = page.limit
    cursor = try page.cursor(of: scope)
  }

  /// The name of the last item of the page before; nil for the first page.
  public var lastName: String? {
    if case .text(let text)? = cursor?.parts.first { text } else { nil }
  }

  /// The page of `items`, which are sorted by name.
  public func page<Item>(_ items: [Item], name: (Item) -> String) -> Page<Item> {
    let last = lastName
    let rest = items.filter { item in last.map { $0 < name(item) } ?? true }
    return Page(Array(rest.prefix(limit + 1)), limit: limit) { PageCursor([.text(name($0))]).text(scope: scope) }
  }
}
