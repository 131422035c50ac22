import TaskBridgeCore

/// Makes a history from its seed: which kinds of operations it has and how often is a matter of the seed too.
struct HistoryGenerator {
  var random: SeededRandom
  private let weights: [(kind: Kind, weight: Int)]
  private let total: Int
  static let tasks = ["a.x", "a.y", "b"]
  static let groups = ["g", "h"]
  static let schedules = ["s", "t"]
  /// The wall clock is set now and then; rates are left out then, which fill by it.
  var setsClock = false
  /// Waiting counts; fallbacks are left out then: what a run waited elsewhere is measured by its present task key.
  var ages = false
  /// Two groups wait for few slots.
  var shares = false
  /// Much fails for good, so that jobs find dead letters.
  var isDeadly = false

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
    [.job, .work, .family, .replay], [.plain, .control, .pauseRun, .crash],
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
    ages = (isPatient || theme.contains(.control)) && !setsClock
    shares = random.once(in: 4)
    isDeadly = theme.contains(.job)
    self.weights = weights
    total = weights.reduce(0) { $0 + $1.1 }
  }

  mutating func history() -> [Operation] {
    let length = random.one(of: [20, 50, 80, 120])
    var first: [Operation] = []
    if ages || shares { first = Self.tasks.indices.map { .setTask(UInt32($0), patience()) } }
    if shares { first += Self.groups.indices.map { .setGroup(UInt32($0), share()) } }
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
      if ages || shares {
        // Many that wait for the same.
        request.task = random.one(of: ["b", "b", request.task])
        if ages { request.priority = random.one(of: [90, 120, 128, 135, 200]) }
        if shares { request.group = random.one(of: ["g", "h", nil]) }
      }
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
}
