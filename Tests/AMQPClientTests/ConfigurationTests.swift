import AMQPClient
import Testing

/// Reading the AMQP URL.
@Suite struct ConfigurationTests {
  struct Good: Sendable, CustomTestStringConvertible {
    let url: String
    var endpoints: [AMQPConfiguration.Endpoint] = [.init(host: "h", port: 5672)]
    var vhost = "/"
    var user = "guest"
    var password = "guest"
    var testDescription: String { url }
  }

  static let good: [Good] = [
    .init(url: "amqp://h"),
    .init(url: "amqp://h/"),
    .init(url: "amqp://h/%2F"),
    .init(url: "amqp://h:1/", endpoints: [.init(host: "h", port: 1)]),
    .init(url: "amqp://h:65535/v", endpoints: [.init(host: "h", port: 65535)], vhost: "v"),
    .init(url: "amqp://u@h", user: "u"),
    .init(url: "amqp://u:@h", user: "u", password: ""),
    .init(url: "amqp://u:p@h/v", vhost: "v", user: "u", password: "p"),
    .init(url: "amqp://u:p:q@h", user: "u", password: "p:q"),
    .init(url: "amqp://a%40b:p%2F%3A%40%25@h/%2fx%20y", vhost: "/x y", user: "a@b", password: "p/:@%"),
    .init(url: "amqp://%C3%BC:%E2%9C%93@h", user: "ü", password: "✓"),
    .init(url: "amqp://u:p@ss@h", user: "u", password: "p@ss"),
    .init(
      url: "amqp://u:p@h1:1,h2,h3:3/v",
      endpoints: [.init(host: "h1", port: 1), .init(host: "h2", port: 5672), .init(host: "h3", port: 3)], vhost: "v",
      user: "u", password: "p"),
    .init(
      url: "amqp://[::1]:7,10.0.0.5", endpoints: [.init(host: "::1", port: 7), .init(host: "10.0.0.5", port: 5672)]),
    .init(url: "amqps://h", endpoints: [.init(host: "h", port: 5671)]),
  ]

  @Test(arguments: good)
  func aUsualURLIsRead(_ expected: Good) throws {
    let configuration = try AMQPConfiguration(url: expected.url)

    #expect(configuration.endpoints == expected.endpoints)
    #expect(configuration.vhost == expected.vhost)
    #expect(configuration.user == expected.user)
    #expect(configuration.password == expected.password)
    #expect((configuration.tls != nil) == expected.url.hasPrefix("amqps"))
    #expect(configuration.heartbeatSeconds == 10)
  }

  @Test func optionsAreRead() throws {
    let configuration = try AMQPConfiguration(
      url: "amqps://u:p@h/v?heartbeat=30&cacertfile=/a%20b&certfile=/c&keyfile=/k&password=s&verify=verify_none"
        + "&connection_timeout=1500&connection_name=n&auth_mechanism=external")

    #expect(configuration.heartbeatSeconds == 30)
    #expect(configuration.timeouts.connect == .milliseconds(1500))
    #expect(configuration.connectionName == "n")
    #expect(configuration.mechanism == .external)
    var tls = AMQPConfiguration.TLS()
    tls.certificateAuthorityFile = "/a b"
    tls.certificateFile = "/c"
    tls.keyFile = "/k"
    tls.keyPassphrase = "s"
    tls.verifyPeer = false
    #expect(configuration.tls == tls)
  }

  @Test func tlsChecksThePeerAgainstTheSystemsAuthoritiesUnlessToldOtherwise() throws {
    let tls = try #require(try AMQPConfiguration(url: "amqps://h").tls)

    #expect(tls.verifyPeer)
    #expect(tls.certificateAuthorityFile == "/etc/ssl/certs/ca-certificates.crt")
  }

  static let bad: [(url: String, problem: String)] = [
    ("", "it must begin with amqp:// or amqps://"),
    ("http://h", "it must begin with amqp:// or amqps://"),
    ("amqp:/h", "it must begin with amqp:// or amqps://"),
    ("amqp://", "it has no host"),
    ("amqp:///v", "it has no host"),
    ("amqp://u:s3cret@", "it has no host"),
    ("amqp://u:s3cret@:5672", "it has an empty host"),
    ("amqp://u:s3cret@h,", "it has an empty host"),
    ("amqp://u:s3cret@h:0", "the port \"0\" of host \"h\" is not a number from 1 to 65535"),
    ("amqp://u:s3cret@h:99999", "the port \"99999\" of host \"h\" is not a number from 1 to 65535"),
    ("amqp://u:s3cret@h:", "the port \"\" of host \"h\" is not a number from 1 to 65535"),
    ("amqp://u:s3cret@h:5672a", "the port \"5672a\" of host \"h\" is not a number from 1 to 65535"),
    // The host was forgotten: the password stands where a port would.
    ("amqp://u:s3cret", "the port of host \"u\" is not a number from 1 to 65535"),
    ("amqp://u:s3cret/x@h", "a / in the user or password must be written as %2F"),
    ("amqp://u:s3cret?x@h", "a ? in the user or password must be written as %3F"),
    ("amqp://u:s3cret#x@h", "a # must be written as %23"),
    ("amqp://u:s3cret%zz@h", "the password has a % without two hex digits after it; a % itself is written as %25"),
    ("amqp://u:s3cret%2@h", "the password has a % without two hex digits after it; a % itself is written as %25"),
    ("amqp://u:s3cret%00@h", "the password has a NUL character"),
    ("amqp://u:s3cret%FF@h", "the password is not UTF-8"),
    ("amqp://u%zz:s3cret@h", "the user has a % without two hex digits after it; a % itself is written as %25"),
    ("amqp://u:s3cret@h/a/b", "a / in the virtual host must be written as %2F"),
    ("amqp://u:s3cret@h/" + String(repeating: "v", count: 256), "the virtual host is 256 bytes, at most 255"),
    (
      "amqp://u:s3cret@h h",
      "a host name has a character that is not a letter, digit, dot, hyphen or underscore"
    ),
    ("amqp://u:s3cret@[::1", "an IPv6 address lacks its closing ]"),
    ("amqp://u:s3cret@[::1]5", "after ] only :port may follow"),
    ("amqp://u:s3cret@[h]", "what stands between [ and ] is not an IPv6 address"),
    ("amqp://h?heartbeat=0", "heartbeat must be a number from 1 to 600, not \"0\""),
    ("amqp://h?heartbeat=601", "heartbeat must be a number from 1 to 600, not \"601\""),
    ("amqp://h?heartbeat=x", "heartbeat must be a number from 1 to 600, not \"x\""),
    ("amqp://h?heartbeat", "the option \"heartbeat\" has no value"),
    ("amqp://h?heartbeat=5&heartbeat=6", "the option \"heartbeat\" is given twice"),
    ("amqp://h?verify=verify_none", "the option \"verify\" needs amqps://"),
    ("amqps://h?verify=no", "verify must be verify_peer or verify_none, not \"no\""),
    ("amqps://h?certfile=/c", "certfile and keyfile go together: one of them is missing"),
    ("amqp://h?auth_mechanism=x", "auth_mechanism must be plain or external, not \"x\""),
    (
      "amqp://h?hartbeat=5",
      "unknown option \"hartbeat\"; known are heartbeat, connection_timeout, connection_name, auth_mechanism, "
        + "cacertfile, certfile, keyfile, password, verify"
    ),
  ]

  @Test(arguments: bad)
  func aWrongURLIsExplainedWithoutItsPassword(_ url: String, _ problem: String) {
    let error = #expect(throws: AMQPError.self) { try AMQPConfiguration(url: url) }

    #expect(error?.kind == .invalidConfiguration)
    #expect(error?.text == "the AMQP URL is not valid: \(problem)")
    #expect(error?.description.contains("s3cret") == false)
    #expect(error?.isRetriable == false)
  }

  @Test func redactedShowsEverythingButSecrets() throws {
    let url = "amqps://u%40x:s3cret@h1:1,[::1]:2/a%2Fb?certfile=/c&keyfile=/k&password=s3cret"

    let redacted = try AMQPConfiguration(url: url).redacted

    #expect(redacted == "amqps://u%40x:***@h1:1,[::1]:2/a%2Fb")
  }

  @Test func printingAConfigurationShowsNoSecret() throws {
    let configuration = try AMQPConfiguration(url: "amqps://u:s3cret@h?certfile=/c&keyfile=/k&password=s3cret")
    var dumped = ""

    dump(configuration, to: &dumped)

    for text in [dumped, "\(configuration)", String(reflecting: configuration), "\(configuration.tls as Any)"] {
      #expect(!text.contains("s3cret"))
    }
  }

  @Test(arguments: [
    ("amqp://localhost", true), ("amqp://127.0.0.1", true), ("amqp://127.8.9.10:1,[::1]", true),
    ("amqp://LOCALHOST", true), ("amqp://10.0.0.1", false), ("amqp://localhost,example.org", false),
    ("amqp://127.example.org", false), ("amqp://127.0.0.1.example.org", false),
  ])
  func loopbackMeansThatEveryEndpointIsThisMachine(_ url: String, _ expected: Bool) throws {
    #expect(try AMQPConfiguration(url: url).isLoopback == expected)
  }
}
