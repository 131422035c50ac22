import Foundation
import Glibc

/// One bridge per store: an advisory lock on a file of its own (locks on the database file itself would drop when
/// anybody closes any descriptor of it).
final class StoreLock: Sendable {
  private let descriptor: Int32

  /// - Throws: `StoreError` `.inUse` naming the holder's process id and host; `.unusable`.
  init(directory: String) throws(StoreError) {
    do {
      try FileManager.default.createDirectory(
        atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw StoreError(.unusable, "data folder \(directory) cannot be made: \(error.localizedDescription)")
    }
    try Self.refuseNetworkFileSystem(directory)
    let path = directory + "/taskbridge.lock"
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw StoreError(
        .unusable,
        "\(path) cannot be written: \(String(cString: strerror(errno))). Choose another folder with --data, or mend its owner."
      )
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let holder = Self.holder(descriptor)
      Glibc.close(descriptor)
      throw StoreError(
        .inUse(pid: holder.pid, host: holder.host),
        "the store in \(directory) is in use by another bridge: pid \(holder.pid.map(String.init) ?? "unknown") on host \(holder.host ?? "unknown"). Stop that one, or choose another folder with --data."
      )
    }
    self.descriptor = descriptor
    var host = [CChar](repeating: 0, count: 256)
    gethostname(&host, host.count - 1)
    let text = "\(getpid()) \(String(decoding: host.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))\n"
    guard ftruncate(descriptor, 0) == 0, pwrite(descriptor, text, text.utf8.count, 0) == text.utf8.count else {
      throw StoreError(.unusable, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
  }

  func release() {
    flock(descriptor, LOCK_UN)
    Glibc.close(descriptor)
  }

  private static func holder(_ descriptor: Int32) -> (pid: Int32?, host: String?) {
    var buffer = [UInt8](repeating: 0, count: 512)
    let count = pread(descriptor, &buffer, buffer.count, 0)
    guard count > 0 else { return (nil, nil) }
    let words = String(decoding: buffer[..<count], as: UTF8.self).split(whereSeparator: \.isWhitespace)
    return (words.first.flatMap { Int32($0) }, words.dropFirst().first.map(String.init))
  }

  /// SQLite's locks are not to be trusted there.
  private static func refuseNetworkFileSystem(_ directory: String) throws(StoreError) {
    guard let resolved = realpath(directory, nil) else { return }
    defer { free(resolved) }
    let path = String(cString: resolved)
    guard let table = FileManager.default.contents(atPath: "/proc/self/mounts") else { return }
    var best: (mount: String, name: String) = ("", "")
    for line in String(decoding: table, as: UTF8.self).split(separator: "\n") {
      let fields = line.split(separator: " ")
      guard fields.count > 2 else { continue }
      let mount = String(fields[1])
      let holds = mount == "/" || path == mount || path.hasPrefix(mount + "/")
      if holds, mount.utf8.count >= best.mount.utf8.count { best = (mount, String(fields[2])) }
    }
    let name = best.name
    if name.hasPrefix("nfs") || name == "cifs" || name.hasPrefix("smb") || name.hasPrefix("fuse") {
      throw StoreError(
        .unusable,
        "data folder \(directory) lies on \(name), where a store is not safe. Choose a local disk with --data.")
    }
  }
}

/// The database file, before SQLite opens it.
enum StoreFile {
  /// Makes an empty file readable by its owner alone, or checks that an existing one can be written.
  static func prepare(_ path: String) throws(StoreError) {
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw StoreError(.unusable, "\(path) cannot be written: \(String(cString: strerror(errno)))")
    }
    fchmod(descriptor, 0o600)
    var header = [UInt8](repeating: 0, count: 16)
    let count = pread(descriptor, &header, 16, 0)
    Glibc.close(descriptor)
    if count > 0, !header.starts(with: Array("SQLite format 3".utf8)) {
      throw StoreError(
        .damaged,
        "\(path) is not a TaskBridge store (no SQLite header). It was not changed; move it away or choose another folder with --data."
      )
    }
  }
}
