import Foundation

/// Follows a run to its end for `submit --wait`.
struct RunWaiter: Sendable {
  /// States a run does not leave by itself.
  static let terminalStates: Set<String> = [
    "completed", "failed", "dead_lettered", "dependency_failed", "cancelled", "expired", "superseded",
  ]
  /// First and longest pause between two looks.
  static let pauseSecondsMin = 0.05
  static let pauseSecondsMax = 1.0
  /// How long a bridge may be away (a restart) before waiting is given up.
  static let absenceSecondsMax = 30.0

  let client: BridgeClient
  let printer: Printer

  /// Prints the run's result when it has completed.
  /// - Parameter seconds: longest wait; nil waits as long as it takes.
  /// - Throws: `CommandFailure` with status 2 when it ended otherwise or not in time.
  func wait(for id: String, seconds: Double?) async throws {
    let interrupted = StopSignals.onFirst([SIGINT, SIGTERM]) { signal in
      StandardError.say("run \(id) goes on; look at it with: taskbridge show \(id)")
      ProcessSetup.die(of: signal)
    }
    defer { interrupted.cancel() }

    let start = ContinuousClock.now
    var lastSeen = start
    var pause = Self.pauseSecondsMin
    while true {
      do {
        if let state = try await state(of: id), Self.terminalStates.contains(state) {
          return try await finish(id, state: state)
        }
        lastSeen = .now
      } catch let failure as CommandFailure where failure.status == .unreachable {
        if ContinuousClock.now - lastSeen > .seconds(Self.absenceSecondsMax) { throw failure }
      }
      let waited = ContinuousClock.now - start
      if let seconds, waited >= .seconds(seconds) {
        throw CommandFailure(
          .waitFailed, "wait_timed_out",
          "run \(id) has not ended within \(JSONText.number(seconds)) s and goes on; look at it with: "
            + "taskbridge show \(id)"
        )
      }
      let left = seconds.map { Duration.seconds($0) - waited } ?? .seconds(pause)
      try await Task.sleep(for: min(.seconds(pause), left))
      pause = min(pause * 1.5, Self.pauseSecondsMax)
    }
  }

  /// The state by the list, which leaves the payload out.
  private func state(of id: String) async throws -> String? {
    var query = Query()
    query.add("id", id)
    query.add("limit", "1")
    let items = try await client.get("/v1/runs", query).json["items"]?.elements ?? []
    guard let run = items.first else {
      throw CommandFailure(
        .notFound, "run_not_found", "run \(id) is gone: it was deleted or pruned while waiting for it")
    }
    return run["state"]?.string
  }

  private func finish(_ id: String, state: String) async throws {
    let answer = try await client.get("/v1/runs/\(id)")
    switch printer.format {
    case .json: StandardOutput.writeLine(answer.body)
    case .jsonl: StandardOutput.writeLine(answer.json.line)
    case .table:
      if let result = answer.json["result"], !result.isNull { StandardOutput.writeLine(result.bytes) }
    }
    guard state != "completed" else { return StandardError.say("run \(id) completed") }
    let error = answer.json["last_error"]
    let reason = [error?["type"]?.text, error?["message"]?.text].compactMap { $0 }.joined(separator: ": ")
    let text = "run \(id) ended \(state)" + (reason.isEmpty ? "" : ": \(Escaping.visible(reason))")
    // The run itself is already on stdout; a second object there would break the JSON.
    StandardError.say("taskbridge: \(text)")
    throw ExitStatus.waitFailed.code
  }
}
