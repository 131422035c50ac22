import TaskBridgeCore

/// What the operations of a history are about.
extension HistoryGenerator {
  mutating func replayOptions() -> Model.ReplayOptions {
    var options = Model.ReplayOptions()
    options.force = random.once(in: 3)
    options.withDependents = random.once(in: 2)
    if random.once(in: 4) { options.priority = random.one(of: [0, 128, 255]) }
    if random.once(in: 4) { options.afterSeconds = random.one(of: [0, 5, 60]) }
    if random.once(in: 4) { options.maxAttempts = random.one(of: [1, 2, 5]) }
    return options
  }

  mutating func timing() -> Model.Timing {
    Model.Timing(kind: random.one(of: [.cron, .rate, .delay]), seconds: random.one(of: [60, 60, 120]))
  }

  mutating func schedule() -> SchedulePick {
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

  mutating func prune() -> Model.Prune {
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

  mutating func job() -> Model.BulkWish {
    var wish = bulk([.replay, .replay, .replay, .retry, .retry, .cancel, .cancel, .pause, .resume, .discard])
    if !random.once(in: 3) { wish.filter = Model.Filter() }
    guard wish.startsAgain else { return wish }
    if random.once(in: 2) { wish.canary = 1 + random.below(2) }
    wish.canaryWaitSeconds = random.one(of: [0, 10, 60])
    return wish
  }

  mutating func bulk(
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

  mutating func wish() -> Model.StateWish {
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

  mutating func change() -> Model.Change {
    var change = Model.Change()
    let times: [Model.NewTime] = [.absent, .none, .after(seconds: -1), .after(seconds: 5), .after(seconds: 60)]
    if random.once(in: 2) { change.priority = random.one(of: [0, 10, 255]) }
    change.runAt = random.one(of: times)
    if random.once(in: 2) { change.expiresAt = random.one(of: times) }
    return change
  }

  mutating func aging() -> Model.Aging {
    Model.Aging(
      graceSeconds: random.one(of: [0, 0, 5, 60]), intervalSeconds: random.one(of: [1, 1, 5, 60]),
      ceiling: random.one(of: [0, 64, 127, 150]))
  }

  mutating func patience() -> Gates.Settings {
    var settings = Gates.Settings()
    if ages { settings.aging = aging() }
    settings.isLIFO = random.once(in: 3)
    guard shares else { return settings }
    if random.once(in: 2) {
      settings.limit = random.one(of: [2, 4, 6])
    } else {
      settings.queueBound = random.one(of: [2, 4, 6])
    }
    return settings
  }

  mutating func share() -> Gates.Settings {
    var settings = Gates.Settings()
    settings.weight = random.one(of: [1, 2, 3])
    if random.once(in: 3) { settings.minimumSlots = random.one(of: [1, 2]) }
    if random.once(in: 3) { settings.limit = random.one(of: [2, 3]) }
    return settings
  }

  mutating func settings() -> Gates.Settings {
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

  mutating func submission() -> SubmissionPick {
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
  mutating func report(isHonest: Bool) -> ReportPick {
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
