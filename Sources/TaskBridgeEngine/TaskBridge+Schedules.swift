public import TaskBridgeCore
import TaskBridgeStore

/// Schedules: what people do with them, and how they stand. They are fired by the ``Timekeeper``.
extension TaskBridge {
  private var limits: SubmissionLimits { SubmissionLimits(payloadBytesMax: configuration.payloadLimitBytes) }

  /// Stores a new schedule.
  /// - Throws: 409 `schedule_exists`; 422 with every fault, `unknown_timezone` with the nearest names.
  public func addSchedule(body: [UInt8]) async throws(Problem) -> ScheduleView {
    let now = now()
    let definition = try ScheduleDefinition(body: body, createdAt: now, limits: limits, zone: context.zoneLookup)
    // What no run could be submitted with is refused now rather than at each nominal time.
    _ = try context.prepare(definition.submission, now: now)
    return try await viewing { transaction throws(StoreError) in try transaction.add(definition, now: now) }
  }

  /// Changes the fields that `body` names, from the next nominal time on.
  /// - Throws: 404 `schedule_not_found`, 422 with every fault; nothing is then changed.
  public func change(schedule name: String, by body: [UInt8]) async throws(Problem) -> ScheduleView {
    let (now, support, limits, zone) = (now(), context.scheduleSupport(), limits, context.zoneLookup)
    return try await viewing { transaction throws(StoreError) in
      try transaction.change(schedule: name, now: now, support: support) { definition in
        do throws(Problem) {
          let changed = try definition.changed(by: body, limits: limits, zone: zone)
          return support.prepare(changed.submission, now).map { _ in changed }
        } catch {
          return .failure(error)
        }
      }
    }
  }

  /// No further run until a resume.
  /// - Throws: 404 `schedule_not_found`.
  public func pause(schedule name: String, reason: String?, actor: String) async throws(Problem) -> ScheduleView {
    let now = now()
    return try await viewing { transaction throws(StoreError) in
      try transaction.pause(schedule: name, reason: reason, now: now, actor: actor)
    }
  }

  /// Goes on with the next nominal time; those missed meanwhile run as `catch_up` says.
  /// - Throws: 404 `schedule_not_found`.
  public func resume(schedule name: String) async throws(Problem) -> ScheduleView {
    let (now, support) = (now(), context.scheduleSupport())
    return try await viewing { transaction throws(StoreError) in
      try transaction.resume(schedule: name, now: now, support: support)
    }
  }

  /// No further run; existing runs stay.
  /// - Throws: 404 `schedule_not_found`.
  public func remove(schedule name: String) async throws(Problem) {
    try await answering { transaction throws(StoreError) in try transaction.remove(schedule: name) }
  }

  /// Makes one run at once, by hand; the plan stays as it is.
  /// - Throws: 404 `schedule_not_found`, 429 `backlog_full`, and what a submission throws.
  public func runNow(schedule name: String, actor: String) async throws(Problem) -> SubmissionAnswer {
    try checkBacklog()
    let (now, support, context) = (now(), context.scheduleSupport(), context)
    return try await answering { transaction throws(StoreError) in
      switch try transaction.runNow(schedule: name, now: now, actor: actor, support: support) {
      case .success(let result): .success(try context.answer(result, in: transaction))
      case .failure(let problem): .failure(problem)
      }
    }
  }

  // MARK: How they stand

  /// Schedules by name.
  public func schedules(_ query: ListQuery) async throws(Problem) -> Page<ScheduleView> {
    let last = query.lastName
    let items = try await reading { transaction throws(StoreError) in
      try transaction.schedules(after: last, limit: query.limit + 1)
    }
    return query.page(items) { $0.name }
  }

  /// One schedule, with its payload and what became of its last nominal times.
  /// - Throws: 404 `schedule_not_found`.
  public func schedule(_ name: String) async throws(Problem) -> ScheduleView {
    try await reading { transaction throws(StoreError) in try transaction.schedule(name) }.get()
  }

  /// The coming nominal times: those that will run when nothing is paused or changed meanwhile, and with `fixed_delay`
  /// when runs take no time.
  /// - Throws: 404 `schedule_not_found`; 422 when the stored zone is no longer known.
  public func forecast(
    ofSchedule name: String, count: Int, after: Timestamp?
  ) async throws(Problem) -> ScheduleForecastView {
    let now = now()
    let standing = try await reading { transaction throws(StoreError) in
      try transaction.scheduleStanding(name)
    }.get()
    let definition = try ScheduleDefinition(
      text: standing.record.text, payload: standing.payload, createdAt: standing.record.createdAt,
      zone: context.zoneLookup)
    return ScheduleForecastView(
      items: definition.rule.forecast(
        after: after ?? max(now, standing.record.decidedThrough), count: count, runsMade: standing.record.runsMade,
        lastEnd: standing.hasOpenRun ? now : standing.record.lastEnd))
  }

  private func viewing(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> Result<String, Problem>
  ) async throws(Problem) -> ScheduleView {
    try await answering { transaction throws(StoreError) in
      switch try body(transaction) {
      case .failure(let problem): return .failure(problem)
      case .success(let name):
        guard let view = try transaction.scheduleView(name) else {
          throw StoreError(.damaged, "store: schedule \(name) is gone inside its own transaction")
        }
        return .success(view)
      }
    }
  }
}

/// `{"items":[{"at","local","note"}]}`.
public struct ScheduleForecastView: Sendable, JSONWritable {
  public var items: [Occurrence]

  public func write(to json: inout JSONWriter) {
    json.object { json in json.member("items", array: items) }
  }
}
