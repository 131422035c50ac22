import Testing

@testable import TaskBridgeEngine

@Suite struct QueueRosterTests {
  @Test("a queue that was never there is declared at once") func firstDeclaration() {
    var roster = QueueRoster()
    roster.missed("a", uptime: 100)
    #expect(roster.pause("a", uptime: 100) == 0)
    #expect(!roster.isKnown("a"))
  }

  /// One that vanishes while another's pause runs out was declared again with it, before its consumers knew of its end.
  @Test("each queue that vanished has a pause of its own") func ownPauses() {
    var roster = QueueRoster()
    roster.found("a")
    roster.found("b")
    roster.missed("a", uptime: 100)
    roster.missed("b", uptime: 100.75)
    #expect(roster.pause("a", uptime: 101) == 0)
    #expect(roster.pause("b", uptime: 101) == 0.75)
    #expect(roster.pause("b", uptime: 101.75) == 0)
  }

  @Test("looking again does not put the declaration off, and finding it ends the pause") func looks() {
    var roster = QueueRoster()
    roster.found("a")
    roster.missed("a", uptime: 100)
    roster.missed("a", uptime: 100.5)
    #expect(roster.pause("a", uptime: 100.5) == 0.5)
    roster.found("a")
    #expect(roster.isKnown("a"))
    #expect(roster.pause("a", uptime: 100.5) == 0)
    roster.missed("a", uptime: 200)
    #expect(roster.pause("a", uptime: 200) == 1)
  }

  @Test("a doubt forgets what is there, not that it was") func doubt() {
    var roster = QueueRoster()
    roster.found("a")
    roster.doubtAll()
    #expect(!roster.isKnown("a"))
    #expect(roster.pause("a", uptime: 100) == 0)
    roster.missed("a", uptime: 100)
    #expect(roster.pause("a", uptime: 100) == 1)
  }
}
