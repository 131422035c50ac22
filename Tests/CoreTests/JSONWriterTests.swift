import TaskBridgeCore
import Testing

@Suite struct JSONWriterTests {
  @Test func commasComeOfThemselves() {
    var json = JSONWriter()

    json.object { json in
      json.member("a", 1)
      json.member("b", array: ["x", "y"])
      json.member("empty") { _ in }
      json.key("c")
      json.array { json in
        json.object { $0.member("d", true) }
        json.array { _ in }
        json.null()
        json.value(Timestamp(milliseconds: 0))
      }
      json.member("none", nil as String?)
      json.member("raw", raw: Array("[1, 2]".utf8))
      json.member("tags", ["z": "1", "a": "2"])
      json.member("resources", ["m": 1.5])
    }

    #expect(
      json.text
        == #"{"a":1,"b":["x","y"],"empty":{},"c":[{"d":true},[],null,"1970-01-01T00:00:00.000Z"],"none":null,"#
        + #""raw":[1, 2],"tags":{"a":"2","z":"1"},"resources":{"m":1.5}}"#)
  }

  @Test(
    arguments: [
      (0, "0"), (-0.0, "0"), (1, "1"), (-5, "-5"), (0.1, "0.1"), (1.5, "1.5"), (93, "93"), (1e15, "1000000000000000"),
      (1e20, "100000000000000000000"), (1e21, "1e+21"), (1.25e22, "1.25e+22"), (1e-6, "0.000001"), (1e-7, "1e-7"),
      (123456.789, "123456.789"), (.leastNonzeroMagnitude, "5e-324"),
      (1.7976931348623157e308, "1.7976931348623157e+308"),
      (.nan, "null"), (.infinity, "null"),
    ] as [(Double, String)])
  func doublesAreShort(value: Double, text: String) {
    var json = JSONWriter()
    json.value(value)
    #expect(json.text == text)
  }

  @Test func everyFiniteDoubleReadsBack() {
    var random = SplitMix64(seed: 11)
    for _ in 0..<20_000 {
      let value = Double(bitPattern: random.next())
      guard value.isFinite else { continue }
      var json = JSONWriter()
      json.value(value)
      #expect(JSONValue.parsed(json.text).doubleValue == value)
    }
  }

  @Test func controlCharactersAreEscaped() {
    var json = JSONWriter()
    json.value("\u{1B}[31m\"\\\n\t\r\u{8}\u{C}\u{0}</script>é")
    #expect(json.text == #""\u001b[31m\"\\\n\t\r\b\f\u0000</script>é""#)
  }
}

extension JSONWriter {
  var text: String { String(decoding: bytes, as: UTF8.self) }
}
