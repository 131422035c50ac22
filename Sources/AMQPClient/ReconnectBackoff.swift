/// How long to wait before the next attempt to connect.
///
/// Doubles from 0.2 s to 30 s. An error that only an operator can mend (credentials, permissions, virtual host) waits
/// 30 to 60 s at once: a broker that counts failed logins must not lock the account because of us.
public struct ReconnectBackoff: Sendable, Equatable {
  public static let delayMin = Duration.milliseconds(200)
  public static let delayMax = Duration.seconds(30)
  /// A connection that lived this long has proved itself; the next failure starts from `delayMin` again.
  public static let stableAfter = Duration.seconds(5)

  public private(set) var failures = 0

  public init() {}

  /// The delay after one more failure.
  /// - Parameter jitter: 0 up to 1, drawn by the caller. The result is spread over the upper half of its step.
  public mutating func next(after error: AMQPError, jitter: Double) -> Duration {
    let share = min(max(jitter, 0), 1)
    let doublings = min(failures, 16)
    failures += 1
    if error.needsOperator {
      return Self.delayMax + Self.delayMax * share
    }
    let step = min(Self.delayMin * (1 << doublings), Self.delayMax)
    return max(Self.delayMin, step * (0.5 + 0.5 * share))
  }

  public mutating func reset() { failures = 0 }
}
