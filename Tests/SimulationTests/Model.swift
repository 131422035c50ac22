import TaskBridgeCore

/// What the store should hold: plain values, moved by the written rules and by nothing of the product but its words for
/// states and answers.
///
/// Where the rules leave an order open (several runs that end in one step) the model takes the store's: first its
/// dependents, then its follow-up, its children, its parent, and runs in the order in which they ended.
struct Model {
  /// A run by its place in the order of submission, from 0.
  typealias Place = Int

  struct Prerequisite: Equatable {
    var run: Place
    var isSatisfied: Bool
  }

  struct DeadLetter: Equatable {
    var reason: DeadLetterReason
    var resolution: String?
    /// Where and when it died.
    var task: String
    var at: Int64
  }

  struct Attempt: Equatable {
    var state = AttemptState.instantiated
    var dispatches = 1
    var claim: String?
    var worker: String?
    var reportBy: Int64
    var timeoutAt: Int64?
    var startedAt: Int64?
    var reportedEnd: ReportedState?
    var returns = 0

    var isOpen: Bool { !Rules.endedAttempt.contains(state) }
    var isUnclaimed: Bool { state == .queued || state == .instantiated || state == .launched }
  }

  struct Run: Equatable {
    let id: RunID
    var request: Request
    /// Where it is dispatched: a fallback may have moved it from the task key of its request, whose keys it keeps.
    var task: String
    var state: RunState
    var memory: Int?
    var failures = 0
    var losses = 0
    var priority: Int
    var isRetry = false
    let createdAt: Int64
    var seriesAt: Int64
    var runAt: Int64?
    /// Since when its waiting counts, once that is no more a matter of submission and ``runAt``.
    var agesFrom: Int64?
    /// Since when the run itself is paused.
    var pausedAt: Int64?
    var launchedAt: Int64?
    var hasStarted = false
    var finishedAt: Int64?
    var expiresAt: Int64?
    var dedupKey: String?
    var payload: Int
    /// Which of its parent's series it belongs to, by the number of replays before it.
    var parentSeries: Int?
    /// The schedule that made it, and for which time; nil: by hand.
    var schedule: String?
    var nominalAt: Int64?
    /// Nothing is left of it.
    var isDeleted = false
    var prerequisites: [Prerequisite] = []
    var openChildren = 0
    var maxAttempts: Int
    var replays = 0
    var supersededBy: Place?
    var followUp: Place?
    var attempts: [Attempt] = []
    var deadLetter: DeadLetter?
    /// The first answer to each transition id.
    var transitions: [String: StateReply] = [:]
    /// When the last report that was applied came in.
    var appliedAt: Int64?
    /// Reports that the ledger must have.
    var reports = 0

    var isEnded: Bool { finishedAt != nil }
    /// Ended without success, and no other run took its place.
    var failsParent: Bool { Rules.failed.contains(state) || state == .superseded && supersededBy == nil }
    var openPrerequisites: Int { prerequisites.count { !$0.isSatisfied } }
    /// Number of the newest attempt; 0 before the first.
    var attempt: Int { attempts.count }
    var dispatch: Int { attempts.last?.dispatches ?? 0 }
  }

  /// A message to publish that is no dispatch.
  struct Notice: Equatable {
    var isDeadLetter: Bool
    var run: Place
  }

  /// In milliseconds.
  var now: Int64 = 1_800_000_000_000
  var runs: [Run] = []
  var gates = Gates()
  var notices: [Notice] = []
  var keptKeys: [KeptKey: KeptAnswer] = [:]
  /// Dead letters that were deleted, by task key: their messages may lie in the mirror.
  var leftovers: [String: Int] = [:]
  /// Runs that a workflow has taken over from the one it superseded.
  var kept: [String: Set<Place>] = [:]
  var schedules: [String: Schedule] = [:]
  /// Of the schedules there are.
  var times: [NominalTime] = []
  /// While the broker is away no lease ends.
  var isBrokerAway = false
  var jobs: [Job] = []
  /// The job that is being worked off, by its place.
  var workingJob: Int?
  /// Releases in a row that left a task key out which had something to release.
  var passedOver: [String: Int] = [:]
  /// Runs that went before others and had grown more urgent, or were of groups that share: for the measure of what the
  /// histories reach.
  var (releasedByAge, releasedByShare) = (0, 0)
  /// Runs that ended and whose consequences are still to come.
  private var ended: [Place] = []
  private var isSettling = false
  /// Every move there was, for the measure of what the histories reach.
  var moves: Set<Move> = []

  struct Move: Hashable {
    var from: RunState?
    var to: RunState
  }

  func place(of id: RunID) -> Place? { runs.firstIndex { $0.id == id } }

  /// Lease of `run`'s next dispatch or report, in milliseconds.
  func lease(_ run: Place) -> Int64 {
    Int64(runs[run].request.leaseSeconds ?? gates.tasks[runs[run].task]?.leaseSeconds ?? 60) * 1_000
  }

  // MARK: Moving

  mutating func add(_ run: Run) {
    moves.insert(Move(from: nil, to: run.state))
    runs.append(run)
  }

  /// Moves a run through `steps`; an end is followed by all that follows from it.
  mutating func move(_ run: Place, _ steps: RunState...) {
    let before = runs[run].state
    for step in steps {
      moves.insert(Move(from: runs[run].state, to: step))
      runs[run].state = step
      if step == .cancelling || step == .cancelled, let workingJob { jobs[workingJob].cancelled.insert(run) }
    }
    if (before == .paused) != (runs[run].state == .paused) { markPause(of: run, before != .paused) }
    let isEnd = Rules.terminal.contains(runs[run].state)
    if isEnd && !Rules.terminal.contains(before) {
      runs[run].finishedAt = now
      wakeSchedule(of: run)
      ended.append(run)
      settle()
    } else if !isEnd {
      runs[run].finishedAt = nil
    }
  }

  /// Nothing follows from the end of any run before `body` is done.
  mutating func endingTogether(_ body: (inout Model) -> Void) {
    isSettling = true
    body(&self)
    isSettling = false
    settle()
  }

  private mutating func settle() {
    if isSettling { return }
    isSettling = true
    while !ended.isEmpty { settleEnd(of: ended.removeFirst()) }
    isSettling = false
  }

  private mutating func settleEnd(of run: Place) {
    let end = runs[run].state
    // A superseded run hands its dependents to its heir.
    if end != .superseded || runs[run].supersededBy == nil { settleDependents(of: run) }
    if let followUp = runs[run].followUp, !runs[followUp].isEnded {
      runs[followUp].dedupKey = runs[run].dedupKey
      if runs[followUp].state == .blocked, runs[followUp].openPrerequisites == 0 { unblock(followUp) }
    }
    if end != .completed { endChildren(of: run) }
    if let parent = runs[run].request.parent {
      runs[parent].openChildren -= 1
      settleParent(parent)
    }
  }

  mutating func settleDependents(of run: Place) {
    for dependent in runs.indices
    where runs[dependent].prerequisites.contains(Prerequisite(run: run, isSatisfied: false)) {
      settle(dependent, waitingFor: run, end: runs[run].state)
    }
  }

  private mutating func settle(_ dependent: Place, waitingFor run: Place, end: RunState) {
    if runs[dependent].isEnded { return }
    // A cascade reaches dependents whatever their own policy says.
    let cascades = end == .dependencyFailed && runs[run].request.onDependencyFailure == .cancel
    let isSatisfied = end == .completed || runs[dependent].request.onDependencyFailure == .ignore && !cascades
    guard isSatisfied else { return move(dependent, .dependencyFailed) }
    satisfy(dependent, run)
  }

  mutating func satisfy(_ dependent: Place, _ run: Place) {
    for index in runs[dependent].prerequisites.indices where runs[dependent].prerequisites[index].run == run {
      runs[dependent].prerequisites[index].isSatisfied = true
    }
    if runs[dependent].state == .blocked, runs[dependent].openPrerequisites == 0, !isFollowing(dependent) {
      unblock(dependent)
    }
  }

  private mutating func unblock(_ run: Place) { move(run, isDue(run) ? .ready : .scheduled) }

  func isDue(_ run: Place) -> Bool { runs[run].runAt.map { $0 <= now } ?? true }

  /// Whether the run waits for the end of the one whose dedup key it will take over.
  func isFollowing(_ run: Place) -> Bool { runs.contains { $0.followUp == run && !$0.isEnded } }

  // MARK: Families

  /// A parent that waits, or is being cancelled, once its children allow it to end.
  mutating func settleParent(_ parent: Place) {
    let isLast = runs[parent].openChildren == 0
    switch runs[parent].state {
    case .cancelling:
      if isLast, let attempt = runs[parent].attempts.last, !attempt.isOpen { move(parent, .cancelled) }
    case .waiting:
      if hasFailedChild(parent), isLast || runs[parent].request.failFast {
        move(parent, .failed)
        bury(parent, .childFailed)
      } else if isLast {
        move(parent, .completed)
      }
    default: break
    }
  }

  /// A child that ended without success in the parent's present series.
  func hasFailedChild(_ parent: Place) -> Bool {
    runs.contains {
      $0.request.parent == parent && $0.failsParent && $0.parentSeries == runs[parent].replays
    }
  }

  /// The end of a parent goes down: with an expired one expire the children that nobody has claimed.
  private mutating func endChildren(of parent: Place) {
    for child in runs.indices where runs[child].request.parent == parent && !runs[child].isEnded {
      if runs[parent].state == .expired, Rules.unclaimed.contains(runs[child].state) {
        endUnclaimedAttempt(of: child)
        move(child, .expired)
      } else {
        cancel(child)
      }
    }
  }

  mutating func endUnclaimedAttempt(of run: Place) {
    guard let newest = runs[run].attempts.indices.last, runs[run].attempts[newest].isUnclaimed else { return }
    runs[run].attempts[newest].state = .fatal
  }

  mutating func bury(_ run: Place, _ reason: DeadLetterReason) {
    runs[run].deadLetter = DeadLetter(reason: reason, task: runs[run].task, at: now)
    notices.append(Notice(isDeadLetter: true, run: run))
  }

  // MARK: Cancel

  /// - Returns: nil, or the code of the refusal.
  @discardableResult
  mutating func cancel(_ run: Place) -> String? {
    if runs[run].isDeleted { return "run_not_found" }
    let newest = runs[run].attempts.indices.last
    switch runs[run].state {
    case .blocked, .scheduled, .ready, .paused:
      if let newest, runs[run].attempts[newest].state == .queued { runs[run].attempts[newest].state = .fatal }
      move(run, .cancelled)
    case .queued, .launched:
      if let newest { runs[run].attempts[newest].state = .fatal }
      move(run, .cancelled)
    case .running:
      if let newest { runs[run].attempts[newest].state = .stopping }
      notices.append(Notice(isDeadLetter: false, run: run))
      move(run, .cancelling)
    case .waiting:
      move(run, .cancelling)
      cancelChildren(of: run)
    case .cancelling, .cancelled: break
    case .adjusting, .error, .completed, .failed, .deadLettered, .dependencyFailed, .expired, .superseded:
      return "terminal_run"
    }
    return nil
  }

  mutating func cancelChildren(of parent: Place) {
    for child in runs.indices where runs[child].request.parent == parent && !runs[child].isEnded { cancel(child) }
  }
}
