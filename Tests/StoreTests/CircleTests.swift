import TaskBridgeCore
import TaskBridgeStore
import Testing

/// Runs that wait for each other in a circle would never end: the submission that would close one is refused.
@Suite struct CircleTests {
  /// Features T30, T37: by way of another run.
  @Test func aChildCannotWaitForWhatWaitsForItsParent() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let between = try await test.add { $0.dependsOn = [.run(parent)] }
      let beyond = try await test.add { $0.dependsOn = [.run(between)] }

      let problem = try await test.refusal {
        $0.parentID = parent
        $0.dependsOn = [.run(beyond)]
      }

      #expect(problem.code == "dependency_cycle" && problem.status == 422)
      #expect(problem.runID == parent)
      #expect(try await test.run(parent).openChildren == 0)
    }
  }

  @Test func aChildMayWaitForWhatDoesNotWaitForItsParent() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let other = try await test.add()
      let sibling = try await test.add {
        $0.parentID = parent
        $0.dependsOn = [.run(other)]
      }

      let child = try await test.add {
        $0.parentID = parent
        $0.dependsOn = [.run(sibling)]
      }

      #expect(try await test.state(child) == .blocked)
    }
  }

  /// Features T53: the follow-up waits for the run it follows, which waits for its children.
  @Test func aRunCannotWaitForAChildThatWouldFollowIt() async throws {
    try await withTemporaryStore { test in
      let first = try await test.add { $0.dedupKey = "k" }
      let dispatch = try #require(try await test.launch().first)
      try await test.report(.running, dispatch.id)
      let child = try await test.add { $0.parentID = first }

      let problem = try await test.refusal {
        $0.dedupKey = "k"
        $0.parentID = child
      }

      #expect(problem.code == "dependency_cycle")
    }
  }

  /// Features T54: dependents go to the heir, which must then not wait for them.
  @Test func anHeirCannotWaitForTheDependentsItWouldInherit() async throws {
    try await withTemporaryStore { test in
      let old = try await test.add { $0.dedupKey = "k" }
      let dependent = try await test.add { $0.dependsOn = [.run(old)] }
      let beyond = try await test.add { $0.dependsOn = [.run(dependent)] }

      let problem = try await test.refusal {
        $0.dedupKey = "k"
        $0.onDuplicate = .supersede
        $0.dependsOn = [.run(beyond)]
      }

      #expect(problem.code == "dependency_cycle")
      #expect(try await test.state(old) == .ready)
    }
  }

  /// Features T39, T54: the old run's end may end the parent that the new one names.
  @Test func anHeirIsNoChildOfAParentThatEndsWithTheOldRun() async throws {
    try await withTemporaryStore { test in
      let parent = try await test.add()
      let work = try #require(try await test.launch().first)
      try await test.report(.running, work.id)
      let old = try await test.add {
        $0.dedupKey = "k"
        $0.parentID = parent
      }
      let grandchild = try await test.add { $0.parentID = old }
      try await test.add {
        $0.parentID = parent
        $0.dependsOn = [.run(grandchild)]
      }
      try await test.report(.completed, work.id)
      #expect(try await test.state(parent) == .waiting)

      let problem = try await test.refusal {
        $0.dedupKey = "k"
        $0.onDuplicate = .supersede
        $0.parentID = parent
      }

      #expect(problem.code == "parent_ended")
      #expect(try await test.state(old) == .ready)
      #expect(try await test.state(parent) == .waiting)
    }
  }
}

extension TestStore {
  /// The problem that a submission is answered with.
  fileprivate func refusal(_ change: (inout Submission) -> Void) async throws -> Problem {
    switch try await submit(Self.submission("media.thumbnail", change)) {
    case .failure(let problem): return problem
    case .success(let result): throw Accepted(outcome: result.outcome)
    }
  }

  private struct Accepted: Error { let outcome: SubmissionOutcome }
}
