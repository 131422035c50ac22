import Foundation

/// A program of ours that runs beside the measurement; output and errors go to a file.
struct ChildProcess: Sendable {
  let pid: pid_t
  let logPath: String

  /// Starts a program that inherits nothing but the three standard descriptors.
  /// - Throws: `BenchError` when it cannot be started.
  static func start(_ path: String, _ arguments: [String], outputPath: String) throws -> ChildProcess {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, outputPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var defaults = sigset_t()
    sigemptyset(&defaults)
    for number in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&defaults, number) }
    posix_spawnattr_setsigdefault(&attributes, &defaults)
    var blocked = sigset_t()
    sigemptyset(&blocked)
    posix_spawnattr_setsigmask(&attributes, &blocked)
    // A group of its own: Ctrl-C at the terminal goes to us, and we end what we started in order.
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF) | Int16(POSIX_SPAWN_SETSIGMASK) | Int16(POSIX_SPAWN_SETPGROUP))

    // Nothing from outside may configure the program behind the measurement's back.
    let environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("TASKBRIDGE_") }
    let argv = ([path] + arguments).map { strdup($0) } + [nil]
    let envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { (argv + envp).forEach { free($0) } }
    var pid = pid_t()
    let code = posix_spawn(&pid, path, &actions, &attributes, argv, envp)
    guard code == 0 else { throw BenchError("cannot start \(path): \(String(cString: strerror(code)))") }
    return ChildProcess(pid: pid, logPath: outputPath)
  }

  /// Whether it has not ended; collects it when it has.
  var isRunning: Bool {
    var status: Int32 = 0
    return waitpid(pid, &status, WNOHANG) == 0
  }

  /// Its exit status, when it has ended and nobody asked before; -1 after a signal, nil while it runs.
  func exitStatus() -> Int32? {
    var status: Int32 = 0
    guard waitpid(pid, &status, WNOHANG) == pid else { return nil }
    return status & 0x7F == 0 ? (status >> 8) & 0xFF : -1
  }

  /// SIGTERM, and SIGKILL after `seconds`.
  func stop(seconds: Double) async {
    guard isRunning else { return }
    kill(pid, SIGTERM)
    await waitForEnd(seconds: seconds)
  }

  func kill9() async {
    kill(pid, SIGKILL)
    await waitForEnd(seconds: 5)
  }

  /// Also of use to a cancelled task, whose `Task.sleep` returns at once: a thread of the pool waits, seconds at most.
  private func waitForEnd(seconds: Double) async {
    let deadline = Date().addingTimeInterval(seconds)
    while isRunning {
      if Date() > deadline { kill(pid, SIGKILL) }
      usleep(5_000)
    }
  }

  /// The end of what it said.
  var lastWords: String {
    let text = FileManager.default.contents(atPath: logPath).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return text.split(separator: "\n").suffix(12).joined(separator: "\n")
  }
}
