/// What the clocks of one place show at every moment: the offsets from UTC of an IANA time zone, past and future.
///
/// Between two changes the offset is constant: a ``Period``. Where a period's offset is larger than the one before,
/// local times are missing (a *gap*); where it is smaller, local times come twice (an *overlap*).
public struct TimeZoneRules: Equatable, Sendable {
  /// The IANA name, such as `Europe/Berlin`.
  public let name: String

  /// The offset before the first change, in seconds east of UTC.
  let firstOffset: Int
  /// The changes of offset in order of time; none leaves the offset as it was.
  let changes: [Change]
  /// The rule for the time from the last of ``changes`` on; `nil` when that offset stays for ever.
  let rule: DaylightRule?

  struct Change: Equatable, Sendable {
    /// Seconds since 1970-01-01T00:00:00Z.
    var at: Int
    /// Seconds east of UTC from then on.
    var offset: Int
  }

  /// A stretch of time with one offset. Neighbours may have the same.
  public struct Period: Equatable, Sendable {
    /// The first second, since 1970-01-01T00:00:00Z; ``TimeZoneRules/beginning`` when there is no change before.
    public var start: Int
    /// The first second after; ``TimeZoneRules/end`` when no change follows.
    public var end: Int
    /// Seconds east of UTC.
    public var offset: Int
  }

  /// Stand for the infinite past and future; far enough from the edge of `Int` that an offset can be added.
  public static let beginning = -(1 << 60)
  public static let end = 1 << 60

  public static let utc = TimeZoneRules(name: "UTC", firstOffset: 0, changes: [], rule: nil)

  init(name: String, firstOffset: Int, changes: [Change], rule: DaylightRule?) {
    self.name = name
    self.firstOffset = firstOffset
    var kept: [Change] = []
    // Changes of the abbreviation alone, or of the daylight flag, are none for a clock.
    for change in changes where change.offset != kept.last?.offset ?? firstOffset { kept.append(change) }
    self.changes = kept
    self.rule = rule
  }

  /// The period that holds a second since 1970-01-01T00:00:00Z.
  public func period(at second: Int) -> Period {
    let lastChange = changes.last?.at ?? Self.beginning
    if let rule, second >= lastChange {
      return rule.period(at: second, after: lastChange, offset: changes.last?.offset ?? firstOffset)
    }
    // How many changes are at or before `second`.
    var low = 0
    var high = changes.count
    while low < high {
      let middle = (low + high) / 2
      if changes[middle].at <= second { low = middle + 1 } else { high = middle }
    }
    return Period(
      start: low == 0 ? Self.beginning : changes[low - 1].at,
      end: low == changes.count ? Self.end : changes[low].at,
      offset: low == 0 ? firstOffset : changes[low - 1].offset)
  }

  /// Seconds east of UTC at a second since 1970-01-01T00:00:00Z.
  public func offset(at second: Int) -> Int { period(at: second).offset }
}

extension TimeZoneRules.Period {
  /// The local time of a moment in this period.
  func local(_ second: Int) -> CivilTime { CivilTime(seconds: second + offset) }
}
