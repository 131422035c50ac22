import Synchronization
import TaskBridgeCore

/// The `Date` field of answers, put together once a second.
final class HTTPDate: Sendable {
  private let cached = Mutex<(second: Int64, text: String)>((.min, ""))

  /// `Sun, 06 Nov 1994 08:49:37 GMT`.
  func text(at now: Timestamp) -> String {
    let second = now.milliseconds / 1_000
    return cached.withLock { cached in
      if cached.second != second { cached = (second, Self.format(Timestamp(milliseconds: second * 1_000))) }
      return cached.text
    }
  }

  private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
  private static let months = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
  ]

  static func format(_ time: Timestamp) -> String {
    let text = Array(time.description)
    // 1970-01-01 was a Thursday.
    let day = days[Int((time.milliseconds / 86_400_000 + 4) % 7)]
    let month = months[(Int(String(text[5...6])) ?? 1) - 1]
    return "\(day), \(String(text[8...9])) \(month) \(String(text[0...3])) \(String(text[11...18])) GMT"
  }
}
