import TaskBridgeCore
import Testing

@Suite struct HeaderValueTests {
  @Test func textsAreReadAsStringsOrBytes() {
    #expect(HeaderValue.string("é").text == "é")
    #expect(HeaderValue.bytes(bytes("é")).text == "é")
    #expect(HeaderValue.bytes([0xFF]).text == nil)
    #expect(HeaderValue.int(5).text == nil)
  }

  @Test func valuesHaveTheirJSON() {
    let value = HeaderValue.table([
      "b": .array([.null, .bool(true), .int(5), .double(5), .double(0.5)]), "a": .bytes(bytes("x")),
      "t": .timestamp(Timestamp(milliseconds: 0)),
    ])

    #expect(
      value.jsonValue.map { String(decoding: $0.json, as: UTF8.self) }
        == #"{"a":"x","b":[null,true,5,5.0,0.5],"t":"1970-01-01T00:00:00.000Z"}"#)
    #expect(HeaderValue.array([.bytes([0xFF])]).jsonValue == nil)
    #expect(HeaderValue.double(.infinity).jsonValue == .string("inf"))
  }
}
