import Foundation

/// CPU time in seconds.
struct CPUTime: Sendable {
  var user: Double
  var system: Double

  var total: Double { user + system }

  static func - (left: CPUTime, right: CPUTime) -> CPUTime {
    CPUTime(user: left.user - right.user, system: left.system - right.system)
  }
}

/// What `/proc` says of a process.
enum ProcessFigures {
  /// CPU time of all threads since the start, in steps of 10 ms; zero when there is no such process.
  static func cpu(_ pid: pid_t) -> CPUTime {
    guard let stat = text("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")") else {
      return CPUTime(user: 0, system: 0)
    }
    // Behind the name, which may hold blanks, the state is field 3; utime and stime are fields 14 and 15.
    let fields = stat[stat.index(after: end)...].split(separator: " ")
    guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else {
      return CPUTime(user: 0, system: 0)
    }
    let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
    return CPUTime(user: user / ticks, system: system / ticks)
  }

  /// CPU time of this process.
  static var ownCPU: CPUTime { cpu(getpid()) }

  /// Resident size in bytes; 0 when there is no such process.
  static func residentBytes(_ pid: pid_t) -> Int {
    statusLine(pid, "VmRSS:")
  }

  /// Largest resident size so far, bytes.
  static func peakResidentBytes(_ pid: pid_t) -> Int {
    statusLine(pid, "VmHWM:")
  }

  private static func statusLine(_ pid: pid_t, _ name: String) -> Int {
    let line = text("/proc/\(pid)/status")?.split(separator: "\n").first { $0.hasPrefix(name) }
    let kibibytes = line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) }
    return (kibibytes ?? 0) << 10
  }

  /// Kind of the file system a folder is on, such as `ext4`; nil when it is not known.
  static func fileSystem(of path: String) -> String? {
    let path = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    // Device, mount point, kind; of those above the folder the longest counts, and of equal ones the last.
    var found: (point: String, kind: String)?
    for line in text("/proc/self/mounts")?.split(separator: "\n") ?? [] {
      let fields = line.split(separator: " ").map { String($0) }
      guard fields.count > 2, path == fields[1] || path.hasPrefix(fields[1] == "/" ? "/" : fields[1] + "/"),
        fields[1].utf8.count >= found?.point.utf8.count ?? 0
      else { continue }
      found = (fields[1], fields[2])
    }
    return found?.kind
  }

  static func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }
}
