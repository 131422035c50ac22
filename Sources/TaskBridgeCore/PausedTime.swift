/// When something was held by one pause or another: intervals in order that do not overlap.
public struct PausedTime: Sendable, Equatable {
  public struct Interval: Sendable, Equatable {
    public var start: Timestamp
    public var end: Timestamp

    public init(start: Timestamp, end: Timestamp) {
      self.start = start
      self.end = end
    }

    public var milliseconds: Int64 { end.milliseconds - start.milliseconds }
  }

  public private(set) var intervals: [Interval] = []

  public init() {}

  /// - Parameter intervals: in any order; where they overlap, time counts once.
  public init(_ intervals: [Interval]) {
    for interval in intervals.sorted(by: { $0.start < $1.start }) where interval.start < interval.end {
      if let last = self.intervals.last, interval.start <= last.end {
        self.intervals[self.intervals.count - 1].end = max(last.end, interval.end)
      } else {
        self.intervals.append(interval)
      }
    }
  }

  /// Paused milliseconds between two times.
  public func milliseconds(from start: Timestamp, to end: Timestamp) -> Int64 {
    intervals.reduce(0) { sum, interval in
      sum + max(0, min(interval.end, end).milliseconds - max(interval.start, start).milliseconds)
    }
  }

  /// Milliseconds of waiting since `since`, pauses left out; 0 before it.
  public func waited(since: Timestamp, until now: Timestamp) -> Int64 {
    since < now ? now.milliseconds - since.milliseconds - milliseconds(from: since, to: now) : 0
  }

  /// The time by which `milliseconds` have passed since `start` outside the pauses.
  public func advance(_ start: Timestamp, by milliseconds: Int64) -> Timestamp {
    var (at, left) = (start.milliseconds, milliseconds)
    for interval in intervals where interval.end.milliseconds > at {
      let free = max(0, interval.start.milliseconds - at)
      if left < free { break }
      left -= free
      at = interval.end.milliseconds
    }
    return Timestamp(milliseconds: at + left)
  }
}

extension Controls {
  /// Most ended pauses that are kept of one subject; of more the oldest two become one of the same length.
  public static let pastPausesMax = 64

  /// When runs of `task` and `group` were held, up to `now`.
  public func pausedTime(task: TaskKey, group: String?, until now: Timestamp) -> PausedTime {
    if pauses.isEmpty && pastPauses.isEmpty { return PausedTime() }
    var subjects: [ControlSubject] = [.bridge, .domain(String(task.domain)), .task(task)]
    if let group { subjects.append(.group(group)) }
    var intervals: [PausedTime.Interval] = []
    for subject in subjects {
      intervals += pastPauses[subject] ?? []
      if let pause = pauses[subject] {
        intervals.append(PausedTime.Interval(start: pause.since, end: min(pause.until ?? now, now)))
      }
    }
    return PausedTime(intervals)
  }

  /// Groups that are paused or have been.
  public var pausedGroups: [String] {
    var names: Set<String> = []
    for case .group(let name) in pauses.keys { names.insert(name) }
    for case .group(let name) in pastPauses.keys { names.insert(name) }
    return names.sorted()
  }

  /// Keeps that `subject` was paused.
  ///
  /// - Returns: the intervals whose rows are to go, and the one that is to stay.
  public mutating func remember(
    _ interval: PausedTime.Interval, of subject: ControlSubject
  ) -> (removed: [PausedTime.Interval], kept: PausedTime.Interval)? {
    guard interval.start < interval.end else { return nil }
    pastPauses[subject, default: []].append(interval)
    guard let past = pastPauses[subject], past.count > Self.pastPausesMax else { return ([], interval) }
    let oldest = Array(past.prefix(2))
    let length = oldest[0].milliseconds + oldest[1].milliseconds
    let merged = PausedTime.Interval(
      start: Timestamp(milliseconds: oldest[1].end.milliseconds - length), end: oldest[1].end)
    pastPauses[subject]?.replaceSubrange(0..<2, with: [merged])
    return (oldest, merged)
  }
}
