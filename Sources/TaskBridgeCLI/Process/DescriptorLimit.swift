import Foundation

/// How many files the process may have open.
enum DescriptorLimit {
  /// Enough for store, connections and clients.
  static let needed: UInt = 256

  /// The present limit; nil when the system does not say.
  static var current: UInt? { read().map { UInt($0.rlim_cur) } }

  /// Raises the limit as far as the system allows.
  /// - Throws: `CommandFailure` with status 1 when that is not enough for a bridge.
  static func raise() throws {
    guard var limit = read() else { return }
    if limit.rlim_cur < limit.rlim_max {
      limit.rlim_cur = limit.rlim_max
      _ = setrlimit(kind, &limit)
    }
    guard let now = current, now < needed else { return }
    throw CommandFailure(
      .failed, "descriptor_limit",
      "at most \(now) files may be open, and a bridge needs \(needed): raise the limit (ulimit -n \(needed), LimitNOFILE=)"
    )
  }

  private static let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)

  private static func read() -> rlimit? {
    var limit = rlimit()
    return getrlimit(kind, &limit) == 0 ? limit : nil
  }
}
