import TaskBridgeCore
import TaskBridgeStore

/// Submissions.
extension Player {
  func resolve(_ pick: SubmissionPick) -> Request {
    var request = pick.request
    request.dependsOn += pick.dependsOn.compactMap { run($0).map { .run($0) } }
    request.dependsOn += pick.dependsOnItems.map { .item($0) }
    request.parent = pick.parent.flatMap { run($0) }
    return request
  }

  func prepare(_ request: Request) -> PreparedSubmission {
    submissions += 1
    return PreparedSubmission(
      request.submission(ids: model.runs.map(\.id), now: model.now), id: Self.id(submissions),
      dedupKey: request.dedupKey)
  }

  func submit(_ pick: SubmissionPick) async throws {
    let request = resolve(pick)
    let prepared = prepare(request)
    let now = now
    note("submit \(request.shown)")
    guard
      let result = try await write({ tx throws(StoreError) in try tx.submit(prepared, now: now, actor: "test") })
    else { return }
    let expected = model.submit(request, id: prepared.id)
    note("  → \(expected)")
    switch result {
    case .success(let stored): try expect(answer(stored), expected, "submit")
    case .failure(let problem): try expect(.refused(problem.code), expected, "submit")
    }
    if case .refused(let code) = expected { reached.refusals.insert(code) }
  }

  func submit(batch picks: [SubmissionPick], superseding workflow: String?) async throws {
    let requests = picks.map(resolve)
    let prepared = requests.map(prepare)
    let now = now
    note("batch \(requests.map(\.shown)) superseding \(workflow ?? "nothing")")
    guard
      let result = try await write({ tx throws(StoreError) in
        try tx.submit(batch: prepared, superseding: workflow, now: now, actor: "test")
      })
    else { return }
    let expected = model.submit(batch: requests, ids: prepared.map(\.id), superseding: workflow)
    if case .refused(let code)? = expected.first { reached.refusals.insert(code) }
    if workflow != nil { reached.count("successions") }
    note("  → \(expected)")
    switch result {
    case .success(let stored): try expect(stored.map(answer), expected, "batch")
    case .failure(let problem): try expect([.refused(problem.code)], expected, "batch")
    }
  }

  func answer(_ result: SubmissionResult) -> Model.Answer {
    .stored(
      result.outcome, run: model.place(of: result.runID) ?? -1,
      replaced: result.replacedID.map { model.place(of: $0) ?? -1 },
      followUp: result.followUpID.map { model.place(of: $0) ?? -1 })
  }
}

extension Request {
  /// What differs from the defaults.
  var shown: String {
    let plain = Mirror(reflecting: Request()).children
    return zip(Mirror(reflecting: self).children, plain).filter { "\($0.value)" != "\($1.value)" }
      .map { "\($0.0.label ?? "") \($0.0.value)" }.joined(separator: ", ").replacing("Optional", with: "")
  }
}
