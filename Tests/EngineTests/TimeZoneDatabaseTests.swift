import Foundation
import TaskBridgeCore
import Testing

@testable import TaskBridgeEngine

/// N33: an unknown zone is refused with the nearest names, missing data at the start.
@Suite struct TimeZoneDatabaseTests {
  private func refusal(_ name: String, _ database: TimeZoneDatabase = .system) -> TimeZoneError? {
    do {
      _ = try database.zone(named: name)
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: [
    "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince", "GB",
  ])
  func zonesOfTheDatabaseAreFound(name: String) throws {
    #expect(try TimeZoneDatabase.system.zone(named: name).name == name)
    #expect(try TimeZoneDatabase.system.zone(named: name) == TimeZoneDatabase.system.zone(named: name))
  }

  @Test(arguments: [
    "", "..", "../../etc/passwd", "/etc/localtime", "Europe/../Europe/Berlin", "Europe//Berlin", "Europe/", "Europe",
    "posix/Europe/Berlin", "right/Europe/Berlin", "localtime", "posixrules", "tzdata.zi", "Europe/Berlin\u{0}",
    "Berlin ",
    "Mars/Olympus", String(repeating: "A", count: 5000),
  ])
  func otherNamesAreRefused(name: String) throws {
    let fault = try #require(refusal(name))

    #expect(fault.code == .unknownTimezone)
    #expect(fault.description.utf8.count < 300)
  }

  @Test(
    arguments: [
      ("Europe/Berln", "did you mean Europe/Berlin?"), ("europe/berlin", "did you mean Europe/Berlin?"),
      ("berlin", "did you mean Europe/Berlin?"), ("New York", "did you mean America/New_York?"),
      ("CEST-ish-nonsense", "names are those of the IANA database"),
    ] as [(String, String)])
  func theNearestNamesAreSaid(name: String, advice: String) {
    #expect(refusal(name)?.description.contains(advice) == true)
  }

  @Test func aMachineWithoutDataIsRefused() throws {
    let database = TimeZoneDatabase(directory: "/nonexistent")

    #expect(refusal("Europe/Berlin", database)?.code == .zoneDataMissing)
    #expect(throws: TimeZoneError.self) { try database.check() }
    #expect(throws: Never.self) { try TimeZoneDatabase.system.check() }
  }

  @Test func aDamagedFileIsNamed() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tb-zones-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data("TZif2".utf8).write(to: folder.appendingPathComponent("Here"))

    let fault = try #require(refusal("Here", TimeZoneDatabase(directory: folder.path)))

    #expect(fault.code == .zoneDataUnreadable)
    #expect(fault.description.contains(folder.path + "/Here"))
  }
}
