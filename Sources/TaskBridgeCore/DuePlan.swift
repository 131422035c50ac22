/// What to do with the nominal times that have come.
public struct DuePlan: Equatable, Sendable {
  /// The times that run, oldest first.
  public var runs: [Occurrence] = []
  /// The times that do not, oldest first.
  public var passedOver: [PassedOver] = []
  /// Every nominal time up to this one is decided by this plan.
  public var decidedThrough: Timestamp
  /// The next nominal time; `nil` when the schedule has ended, or when `fixed_delay` waits for the end of a run.
  public var next: Occurrence?
  /// No nominal time will ever follow.
  public var hasEnded = false

  /// Neighbouring nominal times that do not run, for one reason.
  public struct PassedOver: Equatable, Sendable {
    public enum Reason: String, CaseIterable, Sendable {
      /// Missed, and `catch_up` does not ask for it.
      case missed
      /// `overlap` is `skip`, and a run of the schedule has not ended.
      case overlap
    }

    public var reason: Reason
    public var first: Timestamp
    public var last: Timestamp
    /// At most ``DuePlan/countMax``; that many means at least.
    public var count: Int
  }

  /// The most times on time that one plan decides; the rest waits for the next plan.
  public static let dueMax = 1000
  /// Up to here passed-over times are counted: a year of seconds must not take a second.
  public static let countMax = 10_000
}
