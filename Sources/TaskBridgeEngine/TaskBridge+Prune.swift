public import TaskBridgeCore
import TaskBridgeStore

/// Deleting what has ended.
extension TaskBridge {
  /// Most runs that one call deletes.
  public static let pruneMax = 100_000
  /// Runs of one transaction: others are written in between.
  private static let pruneSlice = 200
  /// Longest rest between two of them, in seconds: the caller waits for the whole.
  private static let pruneRestSeconds = 0.02
  /// Runs that are looked up at once.
  private static let pruneLook = 2_000

  /// Deletes ended runs with all that belongs to them, slice by slice.
  ///
  /// - Parameter dryRun: only count.
  /// - Throws: 503 when the store cannot read or write; what was deleted before stays deleted, and the text says how much.
  public func prune(_ request: PruneRequest, dryRun: Bool) async throws(Problem) -> PruneAnswer {
    let now = now()
    let found = try await reading { transaction throws(StoreError) in try transaction.pruneBound(request, now: now) }
    guard let bound = found else { return PruneAnswer(deleted: 0, remaining: 0) }
    if dryRun {
      let count = try await prunable(request, upTo: bound)
      return try await answer(
        request, upTo: bound, deleted: min(count, Self.pruneMax), remaining: max(0, count - Self.pruneMax))
    }
    var (deleted, after) = (0, Int64(0))
    while deleted < Self.pruneMax {
      let limit = min(Self.pruneLook, Self.pruneMax - deleted)
      let last = after
      let sequences = try await reading { transaction throws(StoreError) in
        try transaction.prunable(request, upTo: bound, after: last, limit: limit)
      }
      guard let next = sequences.last else {
        return try await answer(request, upTo: bound, deleted: deleted, remaining: 0)
      }
      for start in stride(from: 0, to: sequences.count, by: Self.pruneSlice) {
        let slice = Array(sequences[start..<min(start + Self.pruneSlice, sequences.count)])
        let begun = context.clock.uptimeSeconds()
        deleted += try await prune(slice, request, upTo: bound, deletedBefore: deleted)
        await context.rest(since: begun, atMost: Self.pruneRestSeconds)
      }
      after = next
    }
    let remaining = try await prunable(request, upTo: bound)
    return try await answer(request, upTo: bound, deleted: deleted, remaining: remaining)
  }

  /// Deletes one run that has ended.
  /// - Throws: 404 `run_not_found`, 409 `active`, `mirror_pending`, `parent_active`.
  public func delete(_ id: RunID) async throws(Problem) {
    _ = try await answering { transaction throws(StoreError) in try transaction.delete(id) }
  }

  private func prunable(_ request: PruneRequest, upTo bound: PruneBound) async throws(Problem) -> Int {
    try await reading { transaction throws(StoreError) in try transaction.prunableCount(request, upTo: bound) }
  }

  private func answer(
    _ request: PruneRequest, upTo bound: PruneBound, deleted: Int, remaining: Int
  ) async throws(Problem) -> PruneAnswer {
    let pending = try await reading { transaction throws(StoreError) in
      try transaction.mirrorPendingCount(request, upTo: bound)
    }
    return PruneAnswer(deleted: deleted, remaining: remaining, mirrorPending: pending)
  }

  private func prune(
    _ slice: [Int64], _ request: PruneRequest, upTo bound: PruneBound, deletedBefore: Int
  ) async throws(Problem) -> Int {
    do throws(Problem) {
      return try await answering { transaction throws(StoreError) in
        .success(try transaction.prune(slice, request, upTo: bound))
      }
    } catch {
      var problem = error
      problem.detail += "; \(deletedBefore) runs were deleted before that, none of the next \(slice.count)"
      throw problem
    }
  }
}
