import Foundation

/// The files of a private RabbitMQ node, all under one folder.
struct BrokerFolder: Sendable {
  /// Absolute.
  let path: String

  init(path: String) { self.path = URL(fileURLWithPath: path).standardizedFileURL.path }

  var configuration: String { path + "/rabbitmq.conf" }
  var plugins: String { path + "/enabled_plugins" }
  var home: String { path + "/home" }
  var cookie: String { home + "/.erlang.cookie" }
  var data: String { path + "/mnesia" }
  var logs: String { path + "/log" }
  var startLog: String { logs + "/start.log" }

  /// Word in the arguments of the node, the same for the same folder.
  var marker: String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return "taskbridge_" + String(hash, radix: 16)
  }

  /// Makes what is missing and writes the node's settings anew; data and logs are kept.
  /// - Throws: `CommandFailure` with status 5 when the folder cannot be written.
  func prepare(port: Int, owner: BrokerOwner) throws {
    let settings = """
      # Written by `taskbridge dev` at every start.
      listeners.tcp.1 = 127.0.0.1:\(port)
      loopback_users.guest = true
      log.console = false
      log.file.level = info
      # Small enough for a laptop; the default write-ahead log alone may take 512 MiB of memory.
      raft.wal_max_size_bytes = 67108864
      disk_free_limit.absolute = 50MB

      """
    do {
      for folder in [path, home, data, logs] {
        try FileManager.default.createDirectory(
          atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      }
      try settings.write(toFile: configuration, atomically: true, encoding: .utf8)
      try "[].\n".write(toFile: plugins, atomically: true, encoding: .utf8)
      // Whoever has the cookie controls the node: random, new at every start, readable by the node only.
      _ = unlink(cookie)
      let secret = (0..<32).map { _ in String(UInt8.random(in: 0...255), radix: 16) }.joined()
      try secret.write(toFile: cookie, atomically: false, encoding: .utf8)
      guard chmod(cookie, 0o400) == 0 else { throw POSIXError(.EPERM) }
      try owner.take(path)
    } catch {
      throw CommandFailure(
        .unreachable, "broker_folder",
        "cannot write the broker's folder '\(path)': \((error as NSError).localizedDescription); choose another "
          + "with --data"
      )
    }
  }

  /// The last lines the node wrote, for the message when it does not start.
  func lastWords(lines: Int = 12) -> String {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: logs)
    } catch {
      return ""
    }
    let texts = names.filter { $0.hasSuffix(".log") }.sorted().map { name -> String in
      let data = FileManager.default.contents(atPath: logs + "/" + name) ?? Data()
      return String(decoding: data.suffix(4_000), as: UTF8.self)
    }
    let all = texts.joined(separator: "\n").split(whereSeparator: \.isNewline).filter { !$0.allSatisfy { $0 == " " } }
    return all.suffix(lines).map { "  " + Escaping.visible($0) }.joined(separator: "\n")
  }
}

/// The user a private node runs as.
enum BrokerOwner: Equatable, Sendable {
  /// Whoever started us.
  case ourselves
  /// The system's broker user, when we are root.
  case user(name: String, uid: uid_t, gid: gid_t)

  static let setpriv = "/usr/bin/setpriv"

  /// Root gives its node away to `rabbitmq` where that user can reach the folder. Where it cannot (a home of mode
  /// 0700), the node runs as root: all its ports are on loopback and its cookie is for root's eyes only.
  static func suitable(forFolder path: String) -> BrokerOwner {
    guard geteuid() == 0, access(setpriv, X_OK) == 0, let entry = getpwnam("rabbitmq") else { return .ourselves }
    let (uid, gid) = (entry.pointee.pw_uid, entry.pointee.pw_gid)
    var parent = URL(fileURLWithPath: path).deletingLastPathComponent()
    while true {
      var info = stat()
      if stat(parent.path, &info) == 0 {
        let isReachable =
          info.st_mode & S_IXOTH != 0 || (info.st_gid == gid && info.st_mode & S_IXGRP != 0)
          || (info.st_uid == uid && info.st_mode & S_IXUSR != 0)
        if !isReachable { return .ourselves }
      }
      if parent.path == "/" { break }
      parent = parent.deletingLastPathComponent()
    }
    return .user(name: "rabbitmq", uid: uid, gid: gid)
  }

  /// Makes the folder and all in it this user's.
  func take(_ path: String) throws {
    guard case .user(_, let uid, let gid) = self else { return }
    let inside = FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []
    for entry in [path] + inside.map({ path + "/" + $0 }) where lchown(entry, uid, gid) != 0 && errno != ENOENT {
      throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EPERM)
    }
  }

  /// The command that runs a program as this user, with the same process id.
  func command(_ program: String, _ arguments: [String]) -> (path: String, arguments: [String]) {
    switch self {
    case .ourselves: (program, arguments)
    case .user(let name, _, let gid):
      (Self.setpriv, ["--reuid=\(name)", "--regid=\(gid)", "--clear-groups", "--", program] + arguments)
    }
  }
}
