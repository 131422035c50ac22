extension Payload {
  /// The bytes with an RFC 7396 merge patch applied; nil when the payload is no JSON (``isJSON``).
  public func patched(with patch: JSONValue) -> [UInt8]? {
    guard isJSON else { return nil }
    do {
      let document = try JSONValue.parse(bytes)
      var json = JSONWriter(reserving: bytes.count + 256)
      json.value(document.merged(with: patch))
      return json.bytes
    } catch {
      return nil
    }
  }
}
