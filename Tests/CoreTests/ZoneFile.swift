import Foundation
import TaskBridgeCore

/// The rules of a zone from the time zone data of this machine.
func zone(_ name: String) throws -> TimeZoneRules {
  let url = URL(fileURLWithPath: "/usr/share/zoneinfo").appendingPathComponent(name)
  return try TimeZoneRules(name: name, tzif: Array(try Data(contentsOf: url)))
}
