import Glibc
import TaskBridgeCore

/// The clocks of the process: wall time for what people see, boot time (which counts suspend) for durations.
struct WallClock: Sendable {
  var now: @Sendable () -> Timestamp
  /// Seconds since boot, suspend included.
  var uptimeSeconds: @Sendable () -> Double

  static let system = WallClock(
    now: {
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      return Timestamp(milliseconds: Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
    },
    uptimeSeconds: {
      var time = timespec()
      clock_gettime(CLOCK_BOOTTIME, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    })
}
