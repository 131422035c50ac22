/// The run that has or had a dedup key (`GET /v1/lookup`).
public struct LookupView: Sendable, JSONWritable {
  /// Nil: no run of the task key ever had the dedup key.
  public var run: RunView?

  public init(run: RunView?) { self.run = run }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("found", run.map { $0.run.state.isTerminal ? "history" : "active" } ?? "none")
      json.member("run", run)
    }
  }
}
