import Foundation

/// A child process in a session of its own, so that signals typed at a terminal do not reach it and its whole group can
/// be told.
struct SpawnedProcess: Sendable {
  struct Failure: Error, CustomStringConvertible {
    var path: String
    var code: Int32
    var description: String { "cannot start '\(path)': \(String(cString: strerror(code)))" }
  }

  /// What the child's standard descriptors are.
  struct Descriptors: Sendable {
    var input: Int32
    var output: Int32
    var error: Int32
  }

  let pid: pid_t

  /// Starts a program. It inherits the three descriptors and nothing else, with every signal at its default.
  /// - Throws: `Failure` with the system's code.
  static func start(
    _ path: String, _ arguments: [String], environment: [String: String], descriptors: Descriptors,
    folder: String? = nil
  ) throws(Failure) -> SpawnedProcess {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, descriptors.input, STDIN_FILENO)
    posix_spawn_file_actions_adddup2(&actions, descriptors.output, STDOUT_FILENO)
    posix_spawn_file_actions_adddup2(&actions, descriptors.error, STDERR_FILENO)
    // A descriptor of ours kept open by a child would keep a lock or a connection alive.
    closeOthers(&actions)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    // Ignored and blocked signals are inherited; a child that never dies of SIGINT could not be stopped politely.
    var defaults = sigset_t()
    sigemptyset(&defaults)
    for number in [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD] { sigaddset(&defaults, number) }
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    var blocked = sigset_t()
    sigemptyset(&blocked)
    posix_spawnattr_setsigmask(&attributes, &blocked)
    let flags = Int32(POSIX_SPAWN_SETSIGDEF) | Int32(POSIX_SPAWN_SETSIGMASK) | spawnInNewSession
    posix_spawnattr_setflags(&attributes, Int16(flags))

    // There is no portable way to name a folder; a shell goes there and becomes the program.
    let (path, arguments) =
      folder.map { ("/bin/sh", ["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", $0, path] + arguments) } ?? (
        path, arguments
      )
    let argv = ([path] + arguments).map { strdup($0) } + [nil]
    let envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var pid = pid_t()
    let code = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
    guard code == 0 else { throw Failure(path: path, code: code) }
    return SpawnedProcess(pid: pid)
  }

  /// `POSIX_SPAWN_SETSID` of glibc, which hides it from Swift.
  private static let spawnInNewSession: Int32 = 0x80

  /// Has the child close everything beyond the standard three.
  private static func closeOthers(_ actions: inout posix_spawn_file_actions_t) {
    // glibc has the right function and hides it from Swift too.
    typealias AddCloseFrom = @convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32
    if let add = LoadedLibrary.function("posix_spawn_file_actions_addclosefrom_np", as: AddCloseFrom.self),
      add(&actions, STDERR_FILENO + 1) == 0
    {
      return
    }
    // Without it: what is open now. Closing one that has been closed meanwhile does no harm.
    let names = FileManager.default.enumerator(atPath: "/proc/self/fd")?.compactMap { $0 as? String } ?? []
    for descriptor in names.compactMap({ Int32($0) }) where descriptor > STDERR_FILENO {
      posix_spawn_file_actions_addclose(&actions, descriptor)
    }
  }

  /// How a process ended.
  enum End: Sendable, Equatable {
    case exited(Int32)
    case killed(Int32)
    /// Somebody else waited for it.
    case unknown
  }

  /// What a process used.
  struct Usage: Sendable, Equatable {
    var cpuSeconds = 0.0
    var maxRSSBytes = 0
  }

  /// The end, when there is one; collects the child.
  func pollEnd() -> End? { pollEndAndUsage()?.end }

  /// The end and what the child used, when it has ended; collects it.
  func pollEndAndUsage() -> (end: End, usage: Usage)? {
    var status: Int32 = 0
    var used = rusage()
    let result = wait4(pid, &status, WNOHANG, &used)
    if result == 0 || (result < 0 && errno == EINTR) { return nil }
    guard result == pid else { return (.unknown, Usage()) }
    let seconds = [used.ru_utime, used.ru_stime].map { Double($0.tv_sec) + Double($0.tv_usec) / 1e6 }.reduce(0, +)
    let number = status & 0x7F
    return (
      number == 0 ? .exited((status >> 8) & 0xFF) : .killed(number),
      Usage(cpuSeconds: seconds, maxRSSBytes: Int(used.ru_maxrss) << 10)
    )
  }

  /// Tells the whole group of the child.
  func signalGroup(_ number: Int32) { kill(-pid, number) }
}

/// What `/proc` knows of processes, also of those that are not children.
enum ProcessTable {
  /// Whether there is such a process that has not ended; a zombie has.
  static func isAlive(_ pid: pid_t) -> Bool {
    guard let status = text("/proc/\(pid)/stat"), let end = status.lastIndex(of: ")") else { return false }
    let state = status[status.index(after: end)...].drop { $0 == " " }.first
    return state != "Z" && state != "X"
  }

  /// Arguments of a process, the program first.
  static func arguments(_ pid: pid_t) -> [String] {
    (text("/proc/\(pid)/cmdline") ?? "").split(separator: "\0").map { String($0) }
  }

  private static func text(_ path: String) -> String? {
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    return String(decoding: data, as: UTF8.self)
  }
}
