import TaskBridgeCore
import Testing

@Suite struct JSONValueTests {
  @Test func onlyIntegerSyntaxIsAnInteger() {
    #expect(JSONValue.parsed("5").int64Value == 5)
    #expect(JSONValue.parsed("-9223372036854775808").int64Value == .min)
    for text in ["5.0", "5e0", "9223372036854775808", "\"5\"", "null"] {
      #expect(JSONValue.parsed(text).int64Value == nil)
    }
  }

  @Test func onlyFiniteNumbersAreDoubles() {
    #expect(JSONValue.parsed("5").doubleValue == 5)
    #expect(JSONValue.parsed("1e400").doubleValue == nil)
    #expect(JSONValue.parsed("\"5\"").doubleValue == nil)
  }

  @Test(arguments: [
    (#"{"b":1,"a":2}"#, #"{"a":2,"b":1}"#),
    (" [ 1 , 1.0 , 1e2 , -0 , -0.0, 0.10 ] ", "[1,1,100,0,0,0.1]"),
    ("[1E400, 12345678901234567890, 1e21, 1e-7, 0.000001]", "[1E400,12345678901234567890,1e+21,1e-7,0.000001]"),
    (#""A\u00e9\u20AC\/""#, "\"Aé€/\""),
    (#"{"\ud83d\ude00":1,"\ufb33":2,"a":{"z":null,"y":[]}}"#, "{\"a\":{\"y\":[],\"z\":null},\"😀\":1,\"\u{FB33}\":2}"),
  ])
  func canonicalBytesDoNotDependOnTheWriting(text: String, canonical: String) {
    #expect(String(decoding: JSONValue.parsed(text).canonical(), as: UTF8.self) == canonical)
  }

  @Test func canonicalBytesAreTheirOwnCanonicalForm() {
    var random = SplitMix64(seed: 10)
    for _ in 0..<1000 {
      let canonical = JSONValue.random(depth: 5, using: &random).canonical()
      #expect(JSONValue.parsed(String(decoding: canonical, as: UTF8.self)).canonical() == canonical)
    }
  }

  @Test func thePayloadIsCanonicalWhenItIsJSONAndItselfWhenNot() {
    #expect(canonicalPayload(Array(#"{ "b": 1, "a": 2.0 }"#.utf8)) == Array(#"{"a":2,"b":1}"#.utf8))
    #expect(canonicalPayload([0xFF, 0x00]) == [0xFF, 0x00])
    #expect(canonicalPayload([]) == [])
  }

  @Test func objectsAreEqualInAnyOrder() {
    #expect(JSONValue.parsed(#"{"a":1,"b":2}"#) == JSONValue.parsed(#"{ "b":2, "a":1}"#))
    #expect(JSONValue.parsed(#"{"a":1,"b":2}"#) != JSONValue.parsed(#"{"a":1,"b":3}"#))
    #expect(JSONValue.parsed(#"{"a":1}"#) != JSONValue.parsed(#"{"b":1}"#))
  }
}
