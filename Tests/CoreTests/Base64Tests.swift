import TaskBridgeCore
import Testing

@Suite struct Base64Tests {
  @Test(arguments: [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy"),
  ])
  func theTableOfTheRFCHolds(plain: String, text: String) {
    #expect(Base64.text(Array(plain.utf8)) == text)
    #expect(Base64.decode(text) == Array(plain.utf8))
    #expect(Base64.decode(text.filter { $0 != "=" }) == Array(plain.utf8))
  }

  @Test(arguments: ["A", "Zg=", "Zg===", "=", "Z===", "Zm9v=", "Zh==", "Zm9 v", "Zm9v\n", "Zm-_", "Zg==Zg==", "é"])
  func otherTextsAreRefused(text: String) {
    #expect(Base64.decode(text) == nil)
  }

  @Test func anyBytesReadBack() {
    var random = SplitMix64(seed: 14)
    for count in 0..<300 {
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      #expect(Base64.decode(Base64.text(bytes)) == bytes)
    }
  }
}
