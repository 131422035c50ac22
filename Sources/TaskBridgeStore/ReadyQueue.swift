import TaskBridgeCore

/// The ready runs of one task key during a release, and how many of them its gates let through.
struct ReadyQueue {
  let task: TaskKey
  let policy: TaskPolicy
  /// Groups that have ready runs of the task key; mostly none.
  let groups: [String]
  /// What is left of queue bound, concurrency limit and rate limit of the task key; above 0.
  var room: Int
  /// The concurrency limit leaves no more room than the queue bound: then claimed runs count in what groups share.
  let isLimited: Bool
}

/// The gates of task keys and groups, in the order of a release: pause, limits, queue bound, rate limit last.
extension Transaction {
  /// The queue of `task`; nil when one of its own gates is closed.
  func open(_ task: TaskKey, _ policy: TaskPolicy, now: Timestamp) -> ReadyQueue? {
    if controls.isPaused(task, at: now) { return nil }
    var room = policy.queueBound - runs(of: task, in: .queued) - runs(of: task, in: .launched)
    var isLimited = false
    if let limit = policy.concurrencyLimit {
      let free = limit - slotsInUse(by: task)
      // Also when something is let through: what is left over waits for a slot.
      waitsForSlots = true
      isLimited = free <= room
      room = min(room, free)
    }
    guard room > 0 else { return nil }
    if let rate = policy.rate { room = min(room, tokens(of: .task(task), rate, now: now)) }
    guard room > 0 else { return nil }
    return ReadyQueue(
      task: task, policy: policy, groups: readyGroups(of: task), room: room, isLimited: isLimited)
  }

  /// Whole tokens; remembers when the next one comes.
  private func tokens(of subject: ControlSubject, _ rate: RateLimit, now: Timestamp) -> Int {
    let bucket = controls.bucket(of: subject, limit: rate, at: now)
    if let stored = controls.buckets[subject], stored.at > now {
      // The clock was set back: it fills on from here, not from where the clock had been.
      controls.buckets[subject] = bucket
      changedBuckets.insert(subject)
    }
    noteNextToken(of: bucket, rate)
    return bucket.whole
  }

  func takeTokens(for run: Run, policy: TaskPolicy, now: Timestamp) {
    if let rate = policy.rate { takeToken(of: .task(run.task), rate, now: now) }
    if let group = run.group, let rate = controls.groups[group]?.rate { takeToken(of: .group(group), rate, now: now) }
  }

  /// How many runs of `group` its own gates let through.
  func room(of group: String, now: Timestamp) -> Int {
    if controls.pause(of: .group(group), at: now) != nil { return 0 }
    guard let settings = controls.groups[group] else { return .max }
    var room = Int.max
    if let limit = settings.concurrencyLimit {
      waitsForSlots = true
      room = limit - slotsInUse(by: group)
    }
    if room > 0, let rate = settings.rate { room = min(room, tokens(of: .group(group), rate, now: now)) }
    return max(0, room)
  }
}
