import TaskBridgeCore

/// Pauses, limits and rates, in whole numbers: a token is `Gates.token` parts, so that a rate of half a run a second is
/// one part a millisecond.
struct Gates: Equatable {
  struct Settings: Equatable, Sendable {
    var queueBound: Int?
    var limit: Int?
    /// Half runs per second.
    var halfRate: Int?
    var burst: Int?
    var isLIFO = false
    var leaseSeconds: Int?
    var aging: Model.Aging?
    /// How a group shares.
    var weight: Int?
    var minimumSlots: Int?
  }

  struct Bucket: Equatable {
    var parts: Int64
    var at: Int64
  }

  static let token: Int64 = 2_000

  /// A pause that is over.
  struct Past: Equatable {
    var subject: ControlSubject
    var start, end: Int64
  }

  /// By subject; the value is when it ends, nil for not by itself.
  private(set) var pauses: [ControlSubject: Int64?] = [:]
  /// When those began.
  private(set) var since: [ControlSubject: Int64] = [:]
  private(set) var past: [Past] = []
  var tasks: [String: Settings] = [:]
  var groups: [String: Settings] = [:]
  var buckets: [ControlSubject: Bucket] = [:]

  func isPaused(_ subject: ControlSubject, at now: Int64) -> Bool {
    guard let until = pauses[subject] else { return false }
    return until.map { now < $0 } ?? true
  }

  /// One that holds already goes on under its new end.
  mutating func pause(_ subject: ControlSubject, until: Int64?, at now: Int64) {
    if !isPaused(subject, at: now) {
      resume(subject, at: now)
      since[subject] = now
    }
    pauses[subject] = .some(until)
  }

  mutating func resume(_ subject: ControlSubject, at now: Int64) {
    guard let until = pauses.removeValue(forKey: subject), let start = since.removeValue(forKey: subject) else {
      return
    }
    past.append(Past(subject: subject, start: start, end: min(until ?? now, now)))
  }

  /// Whole tokens left; nil without a rate.
  func tokens(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) -> Int? {
    bucket(subject, settings, at: now).map { Int($0.parts / Self.token) }
  }

  mutating func take(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) {
    guard var bucket = bucket(subject, settings, at: now) else { return }
    bucket.parts -= Self.token
    buckets[subject] = bucket
  }

  private func bucket(_ subject: ControlSubject, _ settings: Settings?, at now: Int64) -> Bucket? {
    guard let rate = settings?.halfRate else { return nil }
    // A second's worth, at least one.
    let most = Int64(settings?.burst ?? max(1, (rate + 1) / 2)) * Self.token
    guard let bucket = buckets[subject] else { return Bucket(parts: most, at: now) }
    return Bucket(parts: min(most, bucket.parts + (now - bucket.at) * Int64(rate)), at: now)
  }
}

extension ControlSubject {
  static func task(named name: String) -> ControlSubject {
    .task(Request.key(name))
  }
}

extension Model {
  /// The gates of the store that are closed to a ready run.
  func holds(_ run: Place) -> Set<Hold> {
    let (task, group) = (runs[run].task, runs[run].request.group)
    let settings = gates.tasks[task]
    var holds: Set<Hold> = []
    if gates.isPaused(.bridge, at: now) { holds.insert(.paused) }
    if gates.isPaused(.task(named: task), at: now) || gates.isPaused(.domain(Self.domain(of: task)), at: now) {
      holds.insert(.taskPaused)
    }
    if unclaimed(task) >= settings?.queueBound ?? 1_000 { holds.insert(.queueBound) }
    if let limit = settings?.limit, inUse({ $0.task == task }) >= limit { holds.insert(.taskLimit) }
    if gates.tokens(.task(named: task), settings, at: now) ?? 1 < 1 { holds.insert(.rateLimit) }
    guard let group else { return holds }
    if gates.isPaused(.group(group), at: now) { holds.insert(.groupPaused) }
    if let limit = gates.groups[group]?.limit, inUse({ $0.request.group == group }) >= limit {
      holds.insert(.groupLimit)
    }
    if gates.tokens(.group(group), gates.groups[group], at: now) ?? 1 < 1 { holds.insert(.rateLimit) }
    return holds
  }

  func inUse(_ isMeant: (Run) -> Bool) -> Int { runs.count { Rules.slots.contains($0.state) && isMeant($0) } }

  func unclaimed(_ task: String) -> Int {
    runs.count { $0.task == task && ($0.state == .queued || $0.state == .launched) }
  }
}
