import TaskBridgeCore

/// One step of a history. It holds every choice it makes, the runs it means as numbers that are reduced to what there is
/// when it is played: so each part of a history is a history.
indirect enum Operation: Sendable {
  case submit(SubmissionPick)
  /// May take the place of a workflow.
  case batch([SubmissionPick], superseding: String?)
  case advance(milliseconds: Int64)
  /// To the moment something is due, or just before it.
  case advanceToDue(offset: Int64)
  /// Somebody sets the wall clock.
  case setClock(milliseconds: Int64)
  case tick
  case release(max: Int)
  case confirm(UInt32)
  case confirmAll
  case report(ReportPick)
  /// Confirms and reports that one write applies.
  case burst([ReportPick])
  case unroutable(UInt32)
  case returned(UInt32, DeadLetterReason?)
  case takeBack(UInt32)
  case takeBackLaunched(UInt32)
  case giveUpOrphans(UInt32)
  case publishNotices
  case cancel(UInt32)
  case pauseRun(UInt32)
  case resumeRun(UInt32)
  case replay(UInt32, Model.ReplayOptions)
  case discard(UInt32)
  case delete(UInt32)
  case prune(Model.Prune)
  case bulk(Model.BulkWish)
  case startJob(Model.BulkWish)
  case workJob(UInt32, slice: Int)
  case cancelJob(UInt32)
  case schedule(SchedulePick)
  case setState(UInt32, Model.StateWish)
  case change(UInt32, Model.Change)
  case pause(UInt32, seconds: Int?)
  case resume(UInt32)
  case setTask(UInt32, Gates.Settings)
  case setGroup(UInt32, Gates.Settings)
  case loseBroker
  case reconnect
  case crash
  /// Everything is done but the commit fails.
  case aborted(Operation)
}

struct SubmissionPick: Sendable {
  var request: Request
  /// Runs there are, or with `fromBatch` earlier and later items.
  var dependsOn: [UInt32] = []
  var dependsOnItems: [Int] = []
  var parent: UInt32?
}

struct ReportPick: Sendable {
  enum Target: Sendable { case open, any, foreignRun, notIssued }
  enum Holder: Sendable { case right, implied, other, none }

  var target: Target
  var token: UInt32
  var holder: Holder
  var words: ReportWords
}

/// Makes a history from its seed: which kinds of operations it has and how often is a matter of the seed too.
struct HistoryGenerator {
  private var random: SeededRandom
  private let weights: [(kind: Kind, weight: Int)]
  private let total: Int
  static let tasks = ["a.x", "a.y", "b"]
  static let groups = ["g", "h"]
  static let schedules = ["s", "t"]
  /// The wall clock is set now and then; rates are left out then, which fill by it.
  private var setsClock = false
  /// Waiting counts; fallbacks are left out then: what a run waited elsewhere is measured by its present task key.
  private var ages = false
  /// Much fails for good, so that jobs find dead letters.
  private var isDeadly = false

  enum Kind: CaseIterable {
    case submit, plain, family, batch, time, tick, release, confirm, report, worker, burst, broker, notices, cancel
    case pauseRun, replay, discard, delete, bulk, job, work, schedule, clock, setState, change, control, settings,
      outage, crash,
      aborted

    var weight: Int {
      switch self {
      case .worker: 24
      case .release: 12
      case .submit, .plain, .confirm, .time: 9
      case .family, .tick, .report: 7
      case .broker: 10
      case .cancel, .replay: 6
      case .bulk, .schedule: 5
      case .work: 2
      case .burst, .pauseRun, .setState, .control, .settings: 4
      case .delete: 3
      case .clock: 2
      case .batch: 4
      case .notices, .change, .outage, .aborted: 2
      case .crash, .discard, .job: 1
      }
    }
  }

  /// What a history has most of: else what takes several steps hardly comes about.
  private static let themes: [[Kind]] = [
    [], [.schedule, .clock, .tick], [.bulk, .delete, .replay, .family], [.batch, .family, .cancel],
    [.job, .work, .family], [.settings, .control, .pauseRun, .submit],
  ]

  /// - Parameter kinds: what this history may have; a part of it is left out by chance.
  init(seed: UInt64, kinds: [Kind] = Kind.allCases) {
    random = SeededRandom(seed: seed)
    let theme = random.one(of: Self.themes)
    var weights: [(Kind, Int)] = []
    for kind in kinds {
      let isNeeded = [.submit, .release, .worker, .time, .tick, .confirm].contains(kind)
      var factor = isNeeded ? 4 : random.one(of: [0, 2, 4, 4, 4, 12])
      if theme.contains(kind) {
        factor = kind == .clock ? 4 : 16
      } else if [.clock, .schedule, .bulk, .job, .delete].contains(kind), random.once(in: 2) {
        factor = 0
      }
      if kind == .clock { setsClock = factor > 0 }
      if factor > 0 { weights.append((kind, kind.weight * factor)) }
    }
    let isPatient = random.once(in: 2)
    ages = isPatient && !setsClock
    isDeadly = theme.contains(.job)
    self.weights = weights
    total = weights.reduce(0) { $0 + $1.1 }
  }

  mutating func history() -> [Operation] {
    let length = random.one(of: [20, 50, 80, 120])
    let first = ages ? Self.tasks.indices.map { Operation.setTask(UInt32($0), patience()) } : []
    return first + (0..<length).map { _ in operation() }
  }

  private mutating func operation() -> Operation {
    var place = random.below(total)
    for (kind, weight) in weights {
      if place < weight { return operation(kind) }
      place -= weight
    }
    return .tick
  }

  private mutating func operation(_ kind: Kind) -> Operation {
    switch kind {
    case .submit: return .submit(submission())
    case .plain:
      var request = Request()
      request.task = random.one(of: Self.tasks)
      request.payload = random.below(3)
      return .submit(SubmissionPick(request: request))
    case .family:
      var pick = submission()
      if random.once(in: 2) { pick.parent = random.pick() } else { pick.dependsOn.append(random.pick()) }
      return .submit(pick)
    case .batch:
      let count = 2 + random.below(3)
      let workflow = random.one(of: [nil, "v", "w"])
      let picks = (0..<count).map { _ in
        var pick = submission()
        pick.request.dependsOn = []
        if random.once(in: 2) { pick.dependsOnItems = [random.below(count)] }
        if let workflow {
          pick.request.workflow = workflow
          pick.dependsOn = pick.dependsOn.filter { _ in random.once(in: 3) }
        }
        return pick
      }
      return .batch(picks, superseding: workflow.flatMap { $0 == "v" ? "w" : "v" })
    case .time:
      if random.once(in: 3) {
        return .advance(milliseconds: random.one(of: [1, 250, 1_000, 5_000, 31_000, 61_000, 200_000]))
      }
      return .advanceToDue(offset: random.one(of: [-1, 0, 0, 0, 1, 500]))
    case .tick: return .tick
    case .release: return .release(max: random.one(of: ages ? [1, 1, 1, 2, 3, 100] : [1, 2, 3, 100, 100, 100, 100]))
    case .confirm: return random.once(in: 3) ? .confirm(random.pick()) : .confirmAll
    case .report: return .report(report(isHonest: false))
    case .worker: return .report(report(isHonest: true))
    case .burst:
      return .burst((0..<(1 + random.below(5))).map { _ in report(isHonest: true) })
    case .broker:
      switch random.below(5) {
      case 0: return .unroutable(random.pick())
      case 1: return .returned(random.pick(), random.one(of: [nil, nil, .deliveryLimit, .lost]))
      case 2: return .takeBack(random.pick())
      case 3: return .takeBackLaunched(random.pick())
      default: return .giveUpOrphans(random.pick())
      }
    case .notices: return .publishNotices
    case .cancel: return .cancel(random.pick())
    case .pauseRun: return random.once(in: 2) ? .pauseRun(random.pick()) : .resumeRun(random.pick())
    case .replay: return .replay(random.pick(), replayOptions())
    case .discard: return .discard(random.pick())
    case .schedule: return .schedule(schedule())
    case .clock:
      return .setClock(milliseconds: random.one(of: [-1_500, -30_000, -300_000, -3_600_000, 30_000, 300_000]))
    case .delete: return random.once(in: 2) ? .delete(random.pick()) : .prune(prune())
    case .bulk: return .bulk(bulk())
    case .job: return random.once(in: 8) ? .cancelJob(random.pick()) : .startJob(job())
    case .work: return .workJob(random.pick(), slice: random.one(of: [1, 1, 2, 3]))
    case .setState: return .setState(random.pick(), wish())
    case .change: return .change(random.pick(), change())
    case .control:
      return random.once(in: 2)
        ? .pause(random.pick(), seconds: random.one(of: [nil, 1, 30, 100])) : .resume(random.pick())
    case .settings:
      let settings = settings()
      return random.once(in: 2) ? .setTask(random.pick(), settings) : .setGroup(random.pick(), settings)
    case .outage: return random.once(in: 2) ? .loseBroker : .reconnect
    case .crash: return .crash
    case .aborted:
      while true {
        let kind = random.one(
          of: [
            .submit, .family, .batch, .tick, .release, .confirm, .worker, .burst, .cancel, .replay, .delete, .bulk,
            .work,
          ]
            as [Kind])
        return .aborted(operation(kind))
      }
    }
  }

  private mutating func replayOptions() -> Model.ReplayOptions {
    var options = Model.ReplayOptions()
    options.force = random.once(in: 3)
    options.withDependents = random.once(in: 2)
    if random.once(in: 4) { options.priority = random.one(of: [0, 128, 255]) }
    if random.once(in: 4) { options.afterSeconds = random.one(of: [0, 5, 60]) }
    if random.once(in: 4) { options.maxAttempts = random.one(of: [1, 2, 5]) }
    return options
  }

  private mutating func timing() -> Model.Timing {
    Model.Timing(kind: random.one(of: [.cron, .rate, .delay]), seconds: random.one(of: [60, 60, 120]))
  }

  private mutating func schedule() -> SchedulePick {
    let name = random.one(of: Self.schedules)
    switch random.below(9) {
    case 0, 1, 2:
      var request = Request()
      request.task = random.one(of: Self.tasks)
      request.payload = random.below(3)
      if random.once(in: 3) { request.group = random.one(of: Self.groups) }
      if random.once(in: 3) { request.priority = random.one(of: [0, 200]) }
      if random.once(in: 4) { request.ttlSeconds = random.one(of: [10, 60]) }
      if random.once(in: 3) { request.maxAttempts = 1 }
      if random.once(in: 3) {
        request.dedupKey = "k"
        request.onDuplicate = random.one(of: [.skip, .supersede, .reject])
      }
      var pick = SchedulePlanPick(plan: Model.SchedulePlan(timing: timing(), request: request))
      if random.once(in: 3) { pick.plan.maxRuns = random.one(of: [1, 2, 5]) }
      pick.plan.catchUp = random.one(of: ScheduleRule.CatchUp.allCases)
      if random.once(in: 2) { pick.plan.catchUpLimit = random.one(of: [1, 2]) }
      pick.plan.skipsOverlap = random.once(in: 2)
      if random.once(in: 3) { pick.startsAfterSeconds = random.one(of: [-100, 0, 30, 120]) }
      if random.once(in: 4) { pick.endsAfterSeconds = random.one(of: [0, 120, 600]) }
      return SchedulePick(name: name, wish: .add(pick))
    case 3:
      var patch = SchedulePatch()
      if random.once(in: 2) { patch.timing = timing() }
      if random.once(in: 2) { patch.maxRuns = random.one(of: [0, 1, 3]) }
      if random.once(in: 3) { patch.priority = random.one(of: [0, 200]) }
      if random.once(in: 3) { patch.skipsOverlap = random.once(in: 2) }
      return SchedulePick(name: name, wish: .change(patch))
    case 4: return SchedulePick(name: name, wish: .pause)
    case 5, 6: return SchedulePick(name: name, wish: .resume)
    case 7: return SchedulePick(name: name, wish: .runNow)
    default: return SchedulePick(name: name, wish: random.once(in: 2) ? .remove : .runNow)
    }
  }

  private mutating func prune() -> Model.Prune {
    var wish = Model.Prune()
    if random.once(in: 2) {
      wish.keepLast = random.one(of: [0, 0, 1, 3])
    } else {
      wish.ageSeconds = random.one(of: [0, 1, 60, 600])
    }
    let states: [[RunState]] = [
      [], [], [], [.completed], [.failed, .deadLettered], [.cancelled, .expired, .superseded, .dependencyFailed],
    ]
    wish.states = random.one(of: states)
    if random.once(in: 3) { wish.task = random.one(of: Self.tasks) }
    return wish
  }

  private mutating func job() -> Model.BulkWish {
    var wish = bulk([.replay, .replay, .replay, .retry, .retry, .cancel, .cancel, .pause, .resume, .discard])
    if !random.once(in: 3) { wish.filter = Model.Filter() }
    guard wish.startsAgain else { return wish }
    if random.once(in: 2) { wish.canary = 1 + random.below(2) }
    wish.canaryWaitSeconds = random.one(of: [0, 10, 60])
    return wish
  }

  private mutating func bulk(
    _ verbs: [BulkVerb] = [.cancel, .cancel, .retry, .retry, .pause, .resume, .replay, .replay, .discard]
  ) -> Model.BulkWish {
    var wish = Model.BulkWish(verb: random.one(of: verbs))
    switch random.below(6) {
    case 0: wish.filter.task = random.one(of: Self.tasks)
    case 1: wish.filter.domain = random.one(of: ["a", "b"])
    default: break
    }
    if wish.isOfDeadLetters {
      if random.once(in: 3) { wish.filter.reason = random.one(of: [.exhausted, .permanent, .lost, .childFailed]) }
    } else {
      let states: [[RunState]] = [
        [], [], [], [], [.ready, .scheduled], [.blocked, .paused], [.waiting, .running],
        [.failed, .deadLettered, .cancelled],
        [.dependencyFailed, .expired], [.queued, .launched],
      ]
      wish.filter.states = random.one(of: states)
      if random.once(in: 6) { wish.filter.workflow = random.one(of: ["v", "w"]) }
      if random.once(in: 6) { wish.filter.group = random.one(of: Self.groups) }
      if random.once(in: 8) { wish.filter.dedupKey = "k" }
    }
    if wish.startsAgain { wish.options = replayOptions() }
    if wish.verb == .replay, random.once(in: 3) { wish.payload = random.below(5) }
    if random.once(in: 4) { wish.asOfSecondsAgo = random.one(of: [1, 10, 100]) }
    wish.slice = random.one(of: [1, 2, 200, 200])
    return wish
  }

  private mutating func wish() -> Model.StateWish {
    let states: [RunState] = [
      .ready, .ready, .scheduled, .paused, .running, .running, .completed, .failed, .cancelled, .waiting,
    ]
    var wish = Model.StateWish(state: random.one(of: states))
    wish.isForced = random.once(in: 3)
    if random.once(in: 2) { wish.afterSeconds = random.one(of: [-5, 0, 10]) }
    if random.once(in: 3) { wish.transitionID = random.one(of: ["t", "u"]) }
    if random.once(in: 2) { wish.claim = "c1" }
    return wish
  }

  private mutating func change() -> Model.Change {
    var change = Model.Change()
    let times: [Model.NewTime] = [.absent, .none, .after(seconds: -1), .after(seconds: 5), .after(seconds: 60)]
    if random.once(in: 2) { change.priority = random.one(of: [0, 10, 255]) }
    change.runAt = random.one(of: times)
    if random.once(in: 2) { change.expiresAt = random.one(of: times) }
    return change
  }

  private mutating func aging() -> Model.Aging {
    Model.Aging(
      graceSeconds: random.one(of: [0, 0, 5, 60]), intervalSeconds: random.one(of: [1, 1, 5, 60]),
      ceiling: random.one(of: [0, 64, 127, 150]))
  }

  private mutating func patience() -> Gates.Settings {
    var settings = Gates.Settings()
    settings.aging = aging()
    settings.isLIFO = random.once(in: 3)
    return settings
  }

  private mutating func settings() -> Gates.Settings {
    var settings = Gates.Settings()
    if random.once(in: 3) { settings.queueBound = random.one(of: [1, 2, 3]) }
    if random.once(in: 3) { settings.limit = random.one(of: [0, 1, 2, 3]) }
    if !setsClock, random.once(in: 3) {
      settings.halfRate = random.one(of: [1, 2, 4])
      if random.once(in: 2) { settings.burst = random.one(of: [1, 2, 3]) }
    }
    settings.isLIFO = random.once(in: 3)
    if random.once(in: 4) { settings.leaseSeconds = random.one(of: [10, 120]) }
    if ages, random.once(in: 2) {
      settings.aging = aging()
    }
    if random.once(in: 3) { settings.weight = random.one(of: [1, 3]) }
    if random.once(in: 4) { settings.minimumSlots = random.one(of: [1, 2]) }
    return settings
  }

  private mutating func submission() -> SubmissionPick {
    var request = Request()
    request.task = random.one(of: Self.tasks)
    request.payload = random.below(3)
    if random.once(in: 3) { request.group = random.one(of: Self.groups) }
    if random.once(in: 3) { request.workflow = random.one(of: ["v", "w"]) }
    if random.once(in: 4) { request.name = random.one(of: ["n", "m"]) }
    if random.once(in: ages ? 2 : 3) { request.priority = random.one(of: [0, 10, 128, 200, 255]) }
    if random.once(in: 5) { request.delaySeconds = random.one(of: [0, 1, 10, 100]) }
    switch random.below(12) {
    case 0, 1: request.ttlSeconds = random.one(of: [1, 10, 60])
    case 2:
      request.ttlSeconds = random.one(of: [1, 10, 60])
      request.ttlFromFirstAttempt = true
    case 3: request.expiresAfterSeconds = random.one(of: [1, 10, 60])
    default: break
    }
    if random.once(in: 3) {
      request.dedupKey = random.one(of: ["k", "l"])
      request.onDuplicate = random.one(of: [.skip, .skip, .supersede, .supersede, .reject])
    }
    if random.once(in: 10) { request.idempotencyKey = random.one(of: ["i", "j"]) }
    request.onDependencyFailure = random.one(of: [.cancel, .fail, .ignore])
    request.failFast = random.once(in: 2)
    if isDeadly || random.once(in: 3) { request.maxAttempts = random.one(of: [1, 1, 2]) }
    if random.once(in: 3) { request.maxLost = random.one(of: [0, 1, 2]) }
    if random.once(in: 4) { request.leaseSeconds = random.one(of: [5, 30]) }
    if random.once(in: 6) { request.timeoutSeconds = random.one(of: [3, 20]) }
    if random.once(in: 3) { request.retrySeconds = random.one(of: [0, 2, 30]) }
    if random.once(in: 5) {
      request.memory = random.one(of: [1, 2])
      request.fallbackTasks = ages ? [] : random.one(of: [[], ["a.y"], ["a.y", "b"]])
    }
    var pick = SubmissionPick(request: request)
    if random.once(in: 5) { pick.dependsOn = (0..<(1 + random.below(2))).map { _ in random.pick() } }
    if random.once(in: 6) { pick.parent = random.pick() }
    if random.once(in: 40) { pick.request.dependsOn = [.unknown] }
    if random.once(in: 60) { pick.request.hasUnknownParent = true }
    return pick
  }

  /// - Parameter isHonest: from a worker that has a run and speaks for it.
  private mutating func report(isHonest: Bool) -> ReportPick {
    var words = ReportWords(
      state: random.one(
        of: [
          .running, .running, .heartbeat, .progress, .completed, .completed, .completed, .failed, .failed,
          .resourceError, .snoozed, .cancelled,
        ]))
    if isDeadly, random.once(in: 2) { (words.state, words.isRetryable) = (.failed, random.once(in: 2)) }
    words.worker = random.one(of: [nil, "w1", "w1", "w2"])
    if random.once(in: 4) { words.claim = random.one(of: ["c1", "c2"]) }
    if random.once(in: 4) { words.nextReportSeconds = random.one(of: [1, 10, 100]) }
    if random.once(in: 4) { words.isRetryable = false }
    if random.once(in: 4) { words.retryAfterSeconds = random.one(of: [0, 3, 400]) }
    let target: ReportPick.Target =
      isHonest ? .open : random.one(of: [.open, .any, .any, .any, .any, .foreignRun, .notIssued])
    let holder: ReportPick.Holder =
      isHonest
      ? random.one(of: [.right, .right, .right, .implied]) : random.one(of: [.right, .other, .none, .implied])
    return ReportPick(target: target, token: random.pick(), holder: holder, words: words)
  }
}
