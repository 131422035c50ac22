import TaskBridgeCore
import Testing

@Suite struct FingerprintTests {
  private let task = TaskKey("email.send")

  private func print(_ type: String?, _ message: String?) throws -> String {
    fingerprint(task: try #require(task), errorType: type, message: message)
  }

  @Test(arguments: [
    ("timeout after 30 s", "timeout after 5 s"), ("timeout after 30s", "timeout after 2.5s"),
    ("offset -5 out of range", "offset 17 out of range"),
    ("no user 019a0b1c-2d3e-7f40-8a5b-6c7d8e9f0a1b", "no user 550E8400-E29B-41D4-A716-446655440000"),
    ("object deadbeefcafe gone", "object 0xdeadbeef01 gone"), ("key 'alpha' missing", "key 'beta gamma' missing"),
    ("key \"a\" missing", "key \"b's\" missing"),
    ("connect to 10.0.0.1:5672 failed", "connect to 192.168.1.20:80 failed"),
    ("bad  line\n", "bad line"), ("at 2026-11-20T23:39:00.123Z", "at 2025-01-01T00:00:00Z"),
  ])
  func errorsThatDifferInDataAloneShareOne(left: String, right: String) throws {
    #expect(try print("E", left) == print("E", right))
  }

  @Test(arguments: [
    ("can't open file", "can't read file"), ("timeout", "time out"), ("", "timeout"),
    ("key 'a' missing", "key 'a' found"),
  ])
  func otherErrorsHaveOthers(left: String, right: String) throws {
    #expect(try print("E", left) != print("E", right))
  }

  @Test func typesAndTaskKeysNeverShareOne() throws {
    #expect(try print("Timeout1", "x") != print("Timeout2", "x"))
    #expect(try print(nil, "x") != print("E", "x"))
    let other = try #require(TaskKey("email.sent"))
    #expect(try print("E", "x") != fingerprint(task: other, errorType: "E", message: "x"))
  }

  @Test func aFingerprintIsStableAndShort() throws {
    #expect(try print("ValueError", "no user 42") == "e4f998c823e890af")
    #expect(try print(nil, nil).utf8.count == 16)
  }

  @Test func anyMessageHasOne() throws {
    var random = SplitMix64(seed: 13)
    for _ in 0..<5000 {
      let bytes = (0..<Int.random(in: 0...60, using: &random)).map { _ in
        "'\"`-.:0aZf#+= \n\u{0}é".utf8.randomElement(using: &random) ?? 0
      }
      #expect(try print("E", String(decoding: bytes, as: UTF8.self)).utf8.count == 16)
    }
    #expect(try print("E", String(repeating: "1'", count: 1_000_000)).utf8.count == 16)
  }
}
