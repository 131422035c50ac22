import TaskBridgeCore
import Testing

@Suite struct PayloadConditionTests {
  @Test("N13: paths into a payload")
  func pathsAreRead() {
    typealias Step = PayloadPath.Step
    let paths: [(String, [Step])] = [
      ("user.id", [.key("user"), .key("id")]), ("$.user.id", [.key("user"), .key("id")]),
      ("items[0].sku", [.key("items"), .index(0), .key("sku")]), ("[12][3]", [.index(12), .index(3)]),
      ("$[1]", [.index(1)]), (#""a.b".c"#, [.key("a.b"), .key("c")]),
      (#"x."y z"[7]"#, [.key("x"), .key("y z"), .index(7)]),
      ("ü.日本", [.key("ü"), .key("日本")]), ("$", [.key("$")]), ("$x", [.key("$x")]),
    ]
    for (text, steps) in paths { #expect(PayloadPath(text)?.steps == steps, "\(text)") }
    for wrong in [
      "", ".", "a.", ".a", "a..b", "a[", "a[]", "a[x]", "a[-1]", "a[1]b", "a]", #""a"#, #"a"b""#, #""""#, #"a\b"#,
      "a\nb",
      "a.[0]", "[0]a", "a[99999999999]", String(repeating: "a", count: 513),
    ] {
      #expect(PayloadPath(wrong) == nil, "\(wrong)")
    }
  }

  private func filter(_ json: String) throws -> DeadLetterFilter {
    guard case .object(let object) = try JSONValue.parse(json) else { return DeadLetterFilter() }
    return try DeadLetterFilter(json: object, pointer: "/filter")
  }

  @Test("N13: what a payload is compared with")
  func conditionsAreRead() throws {
    let user = PayloadPath("user.id")!
    let expected = [PayloadCondition(user, .number(JSONNumber(42)))!]

    #expect(try filter(#"{"payload":{"user.id":42}}"#).payload == expected)
    for parameter in [Parameter(query: "payload.user.id", "42"), Parameter(query: "payload", #"{"user.id":42}"#)] {
      #expect(try DeadLetterQuery(parameters: [parameter], scope: "x").filter.payload == expected)
    }
    let text = Parameter(query: "payload.user.id", "bob")
    #expect(
      try DeadLetterQuery(parameters: [text], scope: "x").filter.payload == [PayloadCondition(user, .string("bob"))!])
    for wrong in [#"{"payload":5}"#, #"{"payload":{"a":[1]}}"#, #"{"payload":{"a..b":1}}"#, #"{"payload":{"a":{}}}"#] {
      #expect(throws: Problem.self, "\(wrong)") { try filter(wrong) }
    }
  }
}
