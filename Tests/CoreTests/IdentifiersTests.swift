import TaskBridgeCore
import Testing

@Suite struct IdentifiersTests {
  @Test func aRunIDReadsBackFromTextAndBytes() throws {
    var random = SplitMix64(seed: 3)
    for _ in 0..<5000 {
      let id = RunID(high: random.next(), low: random.next())

      #expect(RunID(id.description) == id)
      #expect(RunID(id.description.uppercased()) == id)
      #expect(RunID(bytes: id.bytes) == id)
      #expect(id.description == id.description.lowercased())
    }
    #expect(
      try #require(RunID("019A0B1C-2d3e-7f40-8a5b-6c7d8e9f0a1b")).description == "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b")
  }

  @Test(arguments: [
    "", "nope", "019a0b1c2d3e7f408a5b6c7d8e9f0a1b", "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1",
    "{019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b}",
    "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1bb", "g19a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b",
    "019a0b1c-2d3e-7f40-8a5b_6c7d8e9f0a1b",
    "019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1ä",
  ])
  func whatIsNoUUIDIsNoRunID(text: String) {
    #expect(RunID(text) == nil)
  }

  @Test func bytesOfAnotherNumberThan16AreNoRunID() {
    for count in [0, 1, 15, 17] { #expect(RunID(bytes: [UInt8](repeating: 1, count: count)) == nil) }
  }

  @Test func idsShowVersion7AndTheTime() {
    var generator = RunIDGenerator()
    var random = SplitMix64(seed: 4)
    let now = Timestamp(milliseconds: 1_795_217_940_123)

    let id = generator.next(now: now, random: &random)

    #expect(id.createdAt == now)
    #expect(id.high >> 12 & 0xF == 7)
    #expect(id.low >> 62 == 2)
    #expect(Array(id.description)[14] == "7")
  }

  @Test func idsIncreaseWithinAMillisecondAndWhenTheClockStepsBack() {
    var generator = RunIDGenerator()
    var random = SplitMix64(seed: 5)
    var last = RunID(high: 0, low: 0)
    var clock: Int64 = 1_795_217_940_123
    for round in 0..<50_000 {
      if round % 1000 == 999 { clock += .random(in: -5000...5000, using: &random) }

      let id = generator.next(now: Timestamp(milliseconds: clock), random: &random)

      #expect(id > last)
      #expect(id.high >> 12 & 0xF == 7 && id.low >> 62 == 2)
      last = id
    }
  }

  @Test func idsGoOnAfterTheNewestOfTheStore() throws {
    let last = try #require(RunID("019a0b1c-2d3e-7fff-bfff-ffffffffffff"))
    var generator = RunIDGenerator(after: last)
    var random = SplitMix64(seed: 6)

    let next = generator.next(now: Timestamp(milliseconds: 0), random: &random)

    #expect(next > last)
    #expect(next.createdAt.milliseconds == last.createdAt.milliseconds + 1)
  }

  @Test(arguments: ["a", "0", "email.send", "media.thumb-nail_2", "a..b", String(repeating: "a", count: 120)])
  func theGrammarOfTaskKeysIsTaken(text: String) {
    #expect(TaskKey(text)?.rawValue == text)
  }

  @Test(arguments: [
    "", ".a", "a.", "-a", "a-", "_a", "a_", "A", "a b", "a/b", "../x", "a\r\nb", "ä", "😀", "a\u{0}", "a;b",
    "'; DROP TABLE runs;--", String(repeating: "a", count: 121),
  ])
  func otherTextsAreNoTaskKeys(text: String) {
    #expect(TaskKey(text) == nil)
  }

  @Test func theDomainIsThePartBeforeTheFirstDot() {
    #expect(TaskKey("media.thumbnail.small")?.domain == "media")
    #expect(TaskKey("media")?.domain == "media")
  }
}
