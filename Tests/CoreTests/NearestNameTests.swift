import TaskBridgeCore
import Testing

@Suite struct NearestNameTests {
  @Test(arguments: [
    ("priorty", "priority"), ("runAt", "run_at"), ("run-at", "run_at"), ("delay", nil), ("PRIORITY", "priority"),
    ("xyz", nil), ("", nil), ("dedupkey", "dedup_key"), (String(repeating: "x", count: 100_000), nil),
  ])
  func aSlipOfThePenIsRecognised(typed: String, meant: String?) {
    #expect(nearestName(to: typed, among: ["priority", "run_at", "delay_seconds", "dedup_key"]) == meant)
  }

  @Test func theNearestComeFirstAndEqualOnesByName() {
    let names = ["mail.send", "media.b", "media.thumbnail", "media.a"]

    #expect(nearestNames(to: "media.c", among: names, count: 3) == ["media.a", "media.b", "mail.send"])
    #expect(nearestNames(to: "x", among: [], count: 3) == [])
  }
}
