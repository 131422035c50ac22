import ArgumentParser

/// Exit statuses of `taskbridge` (`contract.md` §4).
enum ExitStatus: Int32, Sendable {
  case ok = 0
  case failed = 1
  /// `--wait` ended without success or in time.
  case waitFailed = 2
  case notFound = 3
  case conflict = 4
  /// Store, broker or server cannot be reached.
  case unreachable = 5
  case notAllowed = 6
  case usage = 64

  var code: ExitCode { ExitCode(rawValue) }

  /// The status for a problem the server answered with.
  init(httpStatus: Int) {
    switch httpStatus {
    case 401, 403: self = .notAllowed
    case 404: self = .notFound
    case 409: self = .conflict
    case 503: self = .unreachable
    default: self = .failed
    }
  }
}
