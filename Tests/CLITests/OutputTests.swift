import Testing

@testable import TaskBridgeCLI

/// What is printed, and how.
@Suite struct OutputTests {
  @Test func slicesKeepTheBytesTheServerSent() {
    let answer = JSONSlice(
      Array(#"{"items": [ {"a": 1.50, "b":"x\"]"} , [1,{"c":"}"}], "s" ], "next_cursor":null}"#.utf8))

    let items = answer["items"]?.elements ?? []

    #expect(
      items.map { String(decoding: $0.bytes, as: UTF8.self) } == [
        #"{"a": 1.50, "b":"x\"]"}"#, #"[1,{"c":"}"}]"#, #""s""#,
      ])
    #expect(items.first?["a"]?.text == "1.50")
    #expect(items.first?["b"]?.string == "x\"]")
    #expect(answer["next_cursor"]?.isNull == true)
    #expect(answer["absent"] == nil)
  }

  @Test func escapesInStringsAreRead() {
    #expect(JSONSlice(Array(#""a\u00e9\ud83d\ude00\n\/""#.utf8)).string == "aé😀\n/")
  }

  @Test(arguments: ["", "{", "[", "[1", "{\"a\"", "{\"a\":", "\"", "<html>", "nul", "{\"a\":\"\\", "]", "{,:,}"])
  func brokenAnswersAreNoReasonToTrap(text: String) {
    let slice = JSONSlice(Array(text.utf8))

    #expect(slice["a"]?.string == nil)
    #expect(slice.elements.count <= 1)
    #expect(slice.line.count == slice.bytes.count)
  }

  @Test func anItemIsOneLineHoweverItWasWritten() {
    let item = JSONSlice(Array("{\n  \"a\": 1,\r\n \"b\": \"x\\ny\"\n}".utf8))

    #expect(!item.line.contains(UInt8(ascii: "\n")))
    #expect(JSONSlice(item.line)["b"]?.string == "x\ny")
  }

  @Test func controlCharactersNeverReachTheTerminal() {
    let hostile = "a\u{1B}[31m\u{7}\u{202E}\u{9B}b\n"

    #expect(Escaping.visible(hostile) == "a\\u{1b}[31m\\u{7}\\u{202e}\\u{9b}b\\n")
    #expect(Escaping.visible("plain é 😀") == "plain é 😀")
  }

  @Test func aNarrowTerminalShortensTextButNeverIds() {
    let id = "01985c2e-7d2a-7c3b-9a51-0123456789ab"
    var table = Table("ID", "STATE!", "NAME~")
    table.add(id, "completed", String(repeating: "x", count: 80))

    let narrow = table.rendered(for: Terminal(columns: 40, colors: false))
    let plain = table.rendered(for: .plain)

    #expect(narrow.contains(id))
    #expect(narrow.contains("…"))
    #expect(plain.contains(String(repeating: "x", count: 80)))
    #expect(!plain.contains("\u{1B}"))
  }

  @Test func coloursNeedATerminalThatWantsThem() {
    var table = Table("STATE!")
    table.add("failed")

    #expect(table.rendered(for: Terminal(columns: 80, colors: true)).contains("\u{1B}[31mfailed"))
    #expect(!table.rendered(for: Terminal(columns: 80, colors: false)).contains("\u{1B}"))
  }

  @Test func quotedTextIsJSON() {
    #expect(JSONText.quoted("a\"\\\n\u{1}é") == #""a\"\\\n\u0001é""#)
    #expect(JSONText.number(3) == "3")
    #expect(JSONText.number(0.25) == "0.25")
  }

  @Test func problemsOfOurOwnLookLikeTheServers() {
    let problem = JSONSlice(CommandFailure(.unreachable, "unreachable", "no \"bridge\"").json)

    #expect(problem["code"]?.string == "unreachable")
    #expect(problem["detail"]?.string == "no \"bridge\"")
    #expect(problem["exit_status"]?.int == 5)
  }

  @Test(arguments: [(401, 6), (403, 6), (404, 3), (409, 4), (422, 1), (429, 1), (500, 1), (503, 5)])
  func statusesOfTheServerBecomeExitStatuses(http: Int, exit: Int32) {
    #expect(ExitStatus(httpStatus: http).rawValue == exit)
  }
}
