import Synchronization
import TaskBridgeStore

/// Long work steps aside. A slice of a job is soon written, but what it sets off is not over then: releases, messages,
/// reports, which take all cores, the broker's above all. So the next slice waits for the end of that, and then for
/// nearly as long again: others have close to half of the time for themselves. Slices that are large and far apart cost
/// less than many small ones, for each commit and each wake-up carries more.
extension BridgeContext {
  /// A rest of a job is so many times as long as the slice took with all that it set off. At 1 a replay beside others had
  /// 0.49 to 0.56 of the full rate, at 0.8 it has 0.6; others wait 8 and 9 ms.
  static let restFactor = 0.8
  /// Longest wait for the end of a slice, and longest rest, in seconds: a bridge that is never calm does not stop a job.
  static let calmSeconds = 0.25
  /// Between two looks, in seconds.
  private static let lookSeconds = 0.001

  /// So many messages in flight are the single runs of others, and no slice's.
  static let stragglersMax = 8

  /// Nothing is being written or released, and next to nothing is in flight.
  var isCalm: Bool {
    // In this order: whoever wrote last has woken the releaser by then.
    guard store.isIdle else { return false }
    // Without a broker nothing leaves.
    guard state.phase == .running, !state.isBlocked else { return true }
    return ready.isAwaited && inFlight.load(ordering: .relaxed) <= Self.stragglersMax
  }

  /// Waits until a slice and what it set off is over, then rests.
  ///
  /// - Parameter begun: when the slice began, in monotonic seconds.
  /// - Throws: `CancellationError`.
  func giveWay(since begun: Double) async throws {
    let written = clock.uptimeSeconds()
    repeat {
      try await Task.sleep(for: .seconds(Self.lookSeconds))
    } while !isCalm && clock.uptimeSeconds() - written < Self.calmSeconds
    await rest(since: begun)
  }

  /// Waits as long as it is since `begun`, in monotonic seconds, at most `limit`; not when the task is cancelled.
  func rest(since begun: Double, atMost limit: Double = calmSeconds) async {
    let seconds = min(limit, Self.restFactor * (clock.uptimeSeconds() - begun))
    do { try await Task.sleep(for: .seconds(seconds)) } catch {
      // Cancelled: whoever rests finds out by itself, and may have something to finish.
    }
  }
}
