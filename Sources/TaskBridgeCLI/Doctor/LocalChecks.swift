import Foundation
import TaskBridgeEngine

/// What can be seen without a bridge and without a broker.
enum LocalChecks {
  /// From this SQLite version on a second writer beside a checkpoint cannot damage the file.
  static let sqliteWithoutResetBug = [3, 51, 3]

  static func run(_ effective: ConfigurationLoader.Effective) -> [DoctorCheck] {
    var checks = [
      DoctorCheck.ok("configuration", effective.file.map { "file '\($0)'" } ?? "no file, defaults and environment")
    ]
    checks += effective.warnings.map { .warning("configuration", $0, nil) }
    checks += [sqlite(), librabbitmq(), descriptors()]
    checks += store(effective.configuration.dataDirectory)
    return checks
  }

  private static func sqlite() -> DoctorCheck {
    guard let version = LoadedLibrary.version("sqlite3_libversion") else {
      return .warning("libsqlite3", "version unknown", nil)
    }
    let numbers = version.split(separator: ".").compactMap { Int($0) }
    let hasBug = numbers.lexicographicallyPrecedes(sqliteWithoutResetBug)
    return .ok(
      "libsqlite3",
      hasBug
        ? "\(version), which has the WAL-reset bug: only the bridge may write to the store, no sqlite3 shell, "
          + "no Litestream"
        : version)
  }

  private static func librabbitmq() -> DoctorCheck {
    LoadedLibrary.version("amqp_version").map { .ok("librabbitmq", $0) }
      ?? .warning("librabbitmq", "version unknown", nil)
  }

  private static func descriptors() -> DoctorCheck {
    guard let count = DescriptorLimit.current else { return .warning("descriptors", "limit unknown", nil) }
    if count < DescriptorLimit.needed {
      return .failed(
        "descriptors", "at most \(count) open files",
        "raise it to \(DescriptorLimit.needed) or more: ulimit -n, LimitNOFILE=")
    }
    return .ok("descriptors", "at most \(count == UInt(bitPattern: -1) ? "any number of" : String(count)) open files")
  }

  private static func store(_ folder: String) -> [DoctorCheck] {
    guard let folderMode = FileMode.of(folder) else {
      return [.warning("data_directory", "'\(folder)' does not exist yet", "the bridge makes it at its first start")]
    }
    var checks: [DoctorCheck] = []
    if access(folder, W_OK | X_OK) == 0 {
      checks.append(.ok("data_directory", "'\(folder)', mode \(FileMode.text(folderMode))"))
    } else {
      checks.append(
        .failed("data_directory", "'\(folder)' cannot be written by this user", "chown it to the user of the bridge"))
    }
    let store = folder + "/taskbridge.db"
    guard FileMode.of(store) != nil else {
      return checks + [.warning("store", "there is no '\(store)' yet", "the bridge makes it at its first start")]
    }
    let files = [store, store + "-wal", store + "-shm"]
    let open = files.compactMap { path in FileMode.of(path).map { (path, $0) } }.filter { $0.1 & 0o077 != 0 }
    if open.isEmpty {
      checks.append(.ok("store", "'\(store)', for its owner only"))
    }
    for (path, mode) in open {
      checks.append(
        .failed("store", "'\(path)' can be reached by others (mode \(FileMode.text(mode)))", "chmod 600 '\(path)'"))
    }
    return checks
  }
}
