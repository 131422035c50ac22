import Foundation
import Synchronization
package import TaskBridgeCore

/// Why a time zone cannot be had.
package struct TimeZoneError: Error, Equatable, CustomStringConvertible {
  package enum Code: String, Sendable {
    /// There is no such zone.
    case unknownTimezone = "unknown_timezone"
    /// This machine has no time zone data.
    case zoneDataMissing = "zone_data_missing"
    /// The file of the zone is damaged or cannot be read.
    case zoneDataUnreadable = "zone_data_unreadable"
  }

  package var code: Code
  /// Names the value and the next step.
  package var description: String
}

/// The time zones of this machine, as the Debian package `tzdata` installs them, or those in the directory that the
/// environment variable `TZDIR` names, as for the C library.
///
/// Each is read once, when it is first asked for; an update of the package needs a restart of the bridge. What is kept
/// is bounded by the number of zones, about 600 of 4 KiB.
package final class TimeZoneDatabase: Sendable {
  package static let standardDirectory = "/usr/share/zoneinfo"
  /// The zones of this machine.
  package static let system = TimeZoneDatabase(
    directory: ProcessInfo.processInfo.environment["TZDIR"] ?? standardDirectory)

  private let directory: String
  private let known = Mutex<[String: TimeZoneRules]>([:])

  package init(directory: String = standardDirectory) {
    self.directory = directory
  }

  /// The rules of an IANA zone, such as `Europe/Berlin`; letter case matters.
  /// - Throws: `unknown_timezone` with the nearest names; also for names that are no zone's: with `..`, a leading `/`,
  ///   `right/…`, `posix/…`, `localtime`.
  package func zone(named name: String) throws(TimeZoneError) -> TimeZoneRules {
    if let zone = known.withLock({ $0[name] }) { return zone }
    guard Self.isName(name), let bytes = read(name) else { throw unknown(name) }
    let zone: TimeZoneRules
    do {
      zone = try TimeZoneRules(name: name, tzif: bytes)
    } catch {
      throw TimeZoneError(
        code: .zoneDataUnreadable,
        description: "\(directory)/\(name) is no time zone: \(error.reason); reinstall the package tzdata")
    }
    known.withLock { $0[name] = zone }
    return zone
  }

  /// Refuses a machine without time zone data.
  package func check() throws(TimeZoneError) { _ = try zone(named: "Etc/UTC") }

  /// Letters, digits, `_`, `+` and `-` between slashes, an upper case letter first: so are all names of the database,
  /// and none of its other files (`posix/…`, `tzdata.zi`), nor any path that leads out of the directory.
  static func isName(_ name: String) -> Bool {
    guard let first = name.utf8.first, first >= 65, first <= 90, name.utf8.count <= 100 else { return false }
    return name.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).allSatisfy { part in
      !part.isEmpty
        && part.allSatisfy { byte in
          switch byte {
          case 48...57, 65...90, 97...122, UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"): true
          default: false
          }
        }
    }
  }

  /// `nil` when there is no such file.
  private func read(_ name: String) -> [UInt8]? {
    guard let file = FileHandle(forReadingAtPath: directory + "/" + name),
      let data = try? file.read(upToCount: TimeZoneRules.bytesMax + 1)
    else { return nil }
    return Array(data)
  }

  private func unknown(_ name: String) -> TimeZoneError {
    let names = names()
    guard !names.isEmpty else {
      return TimeZoneError(
        code: .zoneDataMissing,
        description:
          "there is no time zone data in \(directory), which schedules need; install it: apt-get install tzdata")
    }
    let near = Self.nearest(to: name, among: names)
    let advice = near.isEmpty ? "names are those of the IANA database, such as Europe/Berlin" : "did you mean \(near)?"
    return TimeZoneError(
      code: .unknownTimezone, description: "\(Self.shown(name)) is no time zone; \(advice)")
  }

  private func names() -> [String] {
    let files = FileManager.default.enumerator(atPath: directory)
    return (files?.compactMap { $0 as? String } ?? []).filter { Self.isName($0) && !isFolder($0) }.sorted()
  }

  private func isFolder(_ name: String) -> Bool {
    var isFolder: ObjCBool = false
    return FileManager.default.fileExists(atPath: directory + "/" + name, isDirectory: &isFolder) && isFolder.boolValue
  }

  /// The zones of a city of that name, else the one whose name differs least; up to three, with commas.
  private static func nearest(to name: String, among names: [String]) -> String {
    let city = name.replacingOccurrences(of: " ", with: "_").lowercased()
    let ofCity = names.filter { $0.lowercased().hasSuffix("/" + city) }
    guard ofCity.isEmpty else { return ofCity.prefix(3).joined(separator: ", ") }
    return nearestName(to: name, among: names) ?? ""
  }

  /// In quotation marks, cut and without control characters.
  private static func shown(_ name: String) -> String {
    let scalars = name.unicodeScalars.prefix(60).filter { !CharacterSet.controlCharacters.contains($0) }
    return "\"\(String(String.UnicodeScalarView(scalars)))\""
  }
}
