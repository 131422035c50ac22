/// Which runs, in which intervals of time.
public struct RunHistoryQuery: Sendable, Equatable {
  public static let intervalsMax: Int64 = 500
  public static let intervalSecondsMin = 1.0

  /// Runs whose time is at or after `start` and before `end`.
  public let start: Timestamp
  public let end: Timestamp
  public let intervalMilliseconds: Int64
  public let filter: RunFilter

  /// - Throws: 422 for an interval below a second, an end that is not after the start, and more than 500 intervals.
  public init(start: Timestamp, end: Timestamp, intervalSeconds: Double, filter: RunFilter) throws(Problem) {
    func refuse(_ name: String, _ detail: String) -> Problem {
      Problem(422, "invalid_field", detail, errors: [Fault(pointer: "/\(name)", detail: detail)])
    }
    guard intervalSeconds >= Self.intervalSecondsMin else {
      throw refuse("interval_seconds", "interval_seconds is \(intervalSeconds), at least 1 is allowed")
    }
    guard start < end else {
      throw refuse("end", "end is \(end), which is not after start, \(start)")
    }
    let length = end.milliseconds - start.milliseconds
    // Longer than all of time is one interval.
    intervalMilliseconds = min(length, Int64((min(intervalSeconds, 1e12) * 1_000).rounded()))
    self.start = start
    self.end = end
    self.filter = filter
    guard count <= Self.intervalsMax else {
      let least = (length + Self.intervalsMax * 1_000 - 1) / (Self.intervalsMax * 1_000)
      throw refuse(
        "interval_seconds",
        "from start to end there are \(count) intervals, at most \(Self.intervalsMax) are answered: interval_seconds of \(least) or more, or a shorter time"
      )
    }
  }

  /// How many intervals there are; the last one may be shorter.
  public var count: Int64 {
    (end.milliseconds - start.milliseconds + intervalMilliseconds - 1) / intervalMilliseconds
  }
}

/// How many runs had their time in each interval, by state, and how they did (`POST /v1/runs/history`).
public struct RunHistory: Sendable, Equatable, JSONWritable {
  /// The runs of one state in one interval.
  public struct Cell: Sendable, Equatable {
    public var state: RunState
    public var count: Int
    /// Claimed until ended, or until now: of all attempts of all of them.
    public var runSeconds: Double
    /// From their time until the first claim, or until now; never below 0.
    public var latenessSeconds: Double

    public init(state: RunState, count: Int, runSeconds: Double, latenessSeconds: Double) {
      self.state = state
      self.count = count
      self.runSeconds = runSeconds
      self.latenessSeconds = latenessSeconds
    }
  }

  public let query: RunHistoryQuery
  /// Of each interval; only states that runs of it are in.
  public private(set) var cells: [[Cell]]

  public init(_ query: RunHistoryQuery) {
    self.query = query
    cells = Array(repeating: [], count: Int(query.count))
  }

  /// - Parameter interval: from 0.
  public mutating func add(_ cell: Cell, to interval: Int) { cells[interval].append(cell) }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.key("items")
      json.array { json in
        for (index, cells) in cells.enumerated() { write(Int64(index), cells, to: &json) }
      }
    }
  }

  private func write(_ index: Int64, _ cells: [Cell], to json: inout JSONWriter) {
    let start = query.start.milliseconds + index * query.intervalMilliseconds
    json.object { json in
      json.member("start", Timestamp(milliseconds: start))
      json.member("end", min(query.end, Timestamp(milliseconds: start + query.intervalMilliseconds)))
      json.key("states")
      json.array { json in
        for cell in cells {
          json.object { json in
            json.member("state", cell.state.rawValue)
            json.member("count", cell.count)
            json.member("sum_estimated_run_seconds", cell.runSeconds)
            json.member("sum_estimated_lateness_seconds", cell.latenessSeconds)
          }
        }
      }
    }
  }
}
