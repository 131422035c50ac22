import Testing

@testable import TaskBridgeCLI

/// How the command line is read.
@Suite struct ArgumentTests {
  private static let rewrites: [([String], [String])] = [
    (["submit", "a", "--wait"], ["submit", "a", "--wait=forever"]),
    (["submit", "a", "--wait=30s"], ["submit", "a", "--wait=30s"]),
    (["submit", "a", "--wait", "30s"], ["submit", "a", "--wait=30s"]),
    (["submit", "--wait", "a", "{}"], ["submit", "--wait=forever", "a", "{}"]),
    (["submit", "a", "--wait", "{\"x\":1}"], ["submit", "a", "--wait=forever", "{\"x\":1}"]),
    (["submit", "a", "--wait", "30"], ["submit", "a", "--wait=forever", "30"]),
    (["submit", "a", "--", "--wait"], ["submit", "a", "--", "--wait"]),
    (["runs", "--wait"], ["runs", "--wait"]),
  ]

  @Test(arguments: rewrites)
  func waitMayStandAlone(given: [String], read: [String]) {
    #expect(ArgumentRewriter.rewritten(given) == read)
  }

  @Test(arguments: [
    ("10s", 10.0), ("500ms", 0.5), ("5m", 300), ("2h", 7_200), ("1d", 86_400), ("3", 3), ("0.5", 0.5), ("1.5s", 1.5),
  ])
  func durationsHaveUnits(text: String, seconds: Double) {
    #expect(DurationArgument(argument: text)?.seconds == seconds)
  }

  @Test(arguments: ["-5s", "s", "", "5x", "1e3", "+1", "1..2", "inf", " 1s"])
  func whatIsNoDurationIsRefused(text: String) {
    #expect(DurationArgument(argument: text) == nil)
  }

  @Test func noPayloadIsNullAndOtherContentIsBytes() throws {
    var none = JSONObjectText()
    try PayloadSource(argument: nil).add(to: &none)
    var bytes = JSONObjectText()
    try PayloadSource(argument: "hi", contentType: "text/plain").add(to: &bytes)

    #expect(String(decoding: none.bytes, as: UTF8.self) == #"{"payload":null}"#)
    #expect(String(decoding: bytes.bytes, as: UTF8.self) == #"{"payload_base64":"aGk=","content_type":"text/plain"}"#)
  }

  @Test func aBrokenPayloadIsRefusedWithItsPosition() throws {
    var body = JSONObjectText()

    let failure = try #require(throws: CommandFailure.self) { try PayloadSource(argument: "{bad").add(to: &body) }

    #expect(failure.status == .usage)
    #expect(failure.message.contains("line 1, column 2"))
  }

  @Test(arguments: ["127.0.0.1:8085", "[::1]:80", "localhost:0", "127.255.0.1:65535"])
  func loopbackAddressesAreTaken(text: String) throws {
    let address = try #require(BridgeAddress(text))

    #expect(address.isLoopback)
    #expect(address.description == text)
  }

  @Test(arguments: ["", ":80", "127.0.0.1", "127.0.0.1:65536", "::1:80", "h:-1", "h:8 0", "http://h:80", "h/x:80"])
  func whatIsNoAddressIsRefused(text: String) {
    #expect(BridgeAddress(text) == nil)
  }

  @Test(arguments: ["0.0.0.0:80", "10.0.0.1:80", "[::]:80", "example.com:80", "127.0.0.1.example.com:80"])
  func otherAddressesAreNotLoopback(text: String) {
    #expect(BridgeAddress(text)?.isLoopback == false)
  }

  @Test func queriesAreEncoded() {
    var query = Query()
    query.add("tag.a b", "x&y=é")
    query.add("absent", nil)

    #expect(query.text == "?tag.a%20b=x%26y%3D%C3%A9")
  }
}
