import TaskBridgeCore
import Testing

@Suite struct JSONParserTests {
  @Test func everyKindOfValueIsRead() throws {
    let value = try JSONValue.parse(#" {"a":[1,-2.5e3,true,false,null,"x\n\u00e9\ud83d\ude00"], "b" : {} } "#)

    #expect(
      value
        == .object([
          "a": .array([
            .number(JSONNumber(1)), JSONValue.parsed("-2.5e3"), .bool(true), .bool(false), .null, .string("x\né😀"),
          ]),
          "b": .object([:]),
        ]))
    #expect(value["a"]?.arrayValue?[1].doubleValue == -2500)
  }

  @Test(arguments: [
    ("", 1, 1), (" ", 1, 2), ("{", 1, 2), ("{\"a\":1,}", 1, 8), ("[1,]", 1, 4), ("nul", 1, 1), ("NaN", 1, 1),
    ("Infinity", 1, 1), ("-", 1, 1), ("01", 1, 1), ("1.", 1, 1), ("1e", 1, 1), (".5", 1, 1), ("+1", 1, 1),
    ("\"a", 1, 1), ("{\"a\" 1}", 1, 6), ("{a:1}", 1, 2), ("{'a':1}", 1, 2), ("\"\u{1}\"", 1, 2), ("\"\\x\"", 1, 2),
    ("\"\\u12g4\"", 1, 2), ("{\n  \"é\": tru\n}", 2, 8), ("[1 2]", 1, 4), ("[\"a\nb\"]", 1, 4), ("\u{FEFF}{}", 1, 1),
    ("\"\\ud800\"", 1, 2), ("\"\\ud800\\u0041\"", 1, 2), ("\"\\udc00\"", 1, 2),
  ])
  func brokenTextIsRefusedWithItsPlace(text: String, line: Int, column: Int) throws {
    let error = try #require(throws: JSONError.self) { try JSONValue.parse(text) }

    #expect(error.line == line && error.column == column, "\(error)")
    #expect(Problem(error).code == "invalid_json")
    #expect(Problem(error).status == 400)
    #expect(Problem(error).detail.contains("line \(line), column \(column)"))
  }

  @Test(arguments: ["{} x", "1 2", "null,", "[]]"])
  func nothingMayFollow(text: String) throws {
    let error = try #require(throws: JSONError.self) { try JSONValue.parse(text) }
    #expect(error.reason == .trailing)
  }

  @Test(
    arguments: [
      [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22],
      [0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], [0x22, 0xE2, 0x82], [0x80],
    ] as [[UInt8]])
  func invalidUTF8IsRefused(bytes: [UInt8]) throws {
    let error = try #require(throws: JSONError.self) { try JSONValue.parse(bytes) }
    #expect(error.reason == .notUTF8)
  }

  @Test(arguments: [
    #"{"a":1,"a":2}"#, #"{"a":1,"\u0061":2}"#, #"[{"x":{"b":1,"c":2,"b":3}}]"#,
  ])
  func aKeyGivenTwiceIsRefused(text: String) throws {
    let error = try #require(throws: JSONError.self) { try JSONValue.parse(text) }
    #expect(Problem(error).code == "duplicate_key")
  }

  @Test func amongManyKeysTheRepeatedOneIsFound() throws {
    let members = (0..<1000).map { "\"key\($0)\":\($0)" }
    #expect(try JSONValue.parse("{" + members.joined(separator: ",") + "}").objectValue?.members.count == 1000)

    let error = try #require(throws: JSONError.self) {
      try JSONValue.parse("{" + members.joined(separator: ",") + ",\"key500\":0}")
    }

    #expect(error.reason == .duplicateKey("key500"))
  }

  @Test func keysThatOnlyLookAlikeAreDifferent() throws {
    #expect(try JSONValue.parse("{\"\u{E9}\":1,\"e\u{301}\":2}").objectValue?.members.count == 2)
  }

  @Test(arguments: ["[", "{\"a\":", "[{\"a\":"])
  func nestingIsBoundedWithoutRunningOutOfStack(opening: String) throws {
    let error = try #require(throws: JSONError.self) {
      try JSONValue.parse(String(repeating: opening, count: 10_000))
    }
    #expect(error.reason == .tooDeep)
    #expect(Problem(error).code == "too_deep")
  }

  @Test func exactly64LevelsAreRead() throws {
    let text = { String(repeating: "[", count: $0) + String(repeating: "]", count: $0) }

    _ = try JSONValue.parse(text(64))
    let error = try #require(throws: JSONError.self) { try JSONValue.parse(text(65)) }

    #expect(error == JSONError(line: 1, column: 65, reason: .tooDeep))
    _ = try JSONValue.parse(text(100), depthMax: 100)
  }

  @Test func rangesGiveTheRawTextOfEachMember() throws {
    let text = Array(#"{ "a" :  [1, 2 ]  ,"b":"x" , "c":{ "d": 1 }, "e": -1.0 , "f":null }"#.utf8)

    let object = try #require(JSONValue.parse(text).objectValue)

    let slices = object.members.map { String(decoding: text[$0.range], as: UTF8.self) }
    #expect(slices == ["[1, 2 ]", "\"x\"", "{ \"d\": 1 }", "-1.0", "null"])
  }

  @Test func randomDocumentsReadBackAsWritten() throws {
    var random = SplitMix64(seed: 7)
    for _ in 0..<2000 {
      let value = JSONValue.random(depth: 5, using: &random)

      #expect(try JSONValue.parse(value.json) == value)
    }
  }

  @Test func brokenDocumentsNeitherCrashNorHang() throws {
    var random = SplitMix64(seed: 8)
    var refused = 0
    for _ in 0..<20_000 {
      var bytes = JSONValue.random(depth: 4, using: &random).json
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        guard !bytes.isEmpty else { break }
        let at = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[at] = .random(in: 0...255, using: &random)
        case 1: bytes.remove(at: at)
        default: bytes.insert("{}[]\",:\\0-e.".utf8.randomElement(using: &random) ?? 0, at: at)
        }
      }
      do {
        // What is taken must be the same document when written and read again.
        let value = try JSONValue.parse(bytes)
        #expect(try JSONValue.parse(value.json) == value)
      } catch {
        #expect(error.line >= 1 && error.column >= 1)
        refused += 1
      }
    }
    #expect(refused > 1000)
  }

  @Test func randomBytesNeitherCrashNorHang() throws {
    var random = SplitMix64(seed: 9)
    for _ in 0..<20_000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      do {
        let value = try JSONValue.parse([0x5B] + bytes)
        #expect(try JSONValue.parse(value.json) == value)
      } catch {
        #expect(error.line >= 1 && error.column >= 1)
      }
    }
  }
}

extension JSONValue {
  /// A text that the test knows to be right.
  static func parsed(_ text: String) -> JSONValue {
    do {
      return try parse(text)
    } catch {
      preconditionFailure("\(text): \(error)")
    }
  }

  static func random(depth: Int, using random: inout SplitMix64) -> JSONValue {
    switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
    case 0: return .null
    case 1: return .bool(.random(using: &random))
    case 2: return .number(JSONNumber(Int64.random(in: .min ... .max, using: &random)))
    case 3:
      let value = Double(bitPattern: random.next())
      return .number(JSONNumber(value.isFinite ? value : 0.5))
    case 4, 5: return .string(randomText(using: &random))
    case 6:
      return .array((0..<Int.random(in: 0...4, using: &random)).map { _ in .random(depth: depth - 1, using: &random) })
    default:
      return .object(
        JSONObject(
          members: (0..<Int.random(in: 0...20, using: &random)).map { index in
            JSONObject.Member(
              key: "\(index)" + randomText(using: &random), value: .random(depth: depth - 2, using: &random))
          }))
    }
  }

  private static func randomText(using random: inout SplitMix64) -> String {
    var text = String.UnicodeScalarView()
    for _ in 0..<Int.random(in: 0...12, using: &random) {
      let range: ClosedRange<UInt32> =
        [0...0x7F, 0...0x2FF, 0x1F600...0x1F64F, 0xE000...0xFFFF].randomElement(using: &random) ?? 0...0x7F
      if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &random)) { text.append(scalar) }
    }
    return String(text)
  }
}
