/// How a run is shown to people.
enum RunView {
  /// `type: message` of an error; nil for none.
  static func errorText(_ error: JSONSlice?) -> String? {
    guard let error, !error.isNull else { return nil }
    return [error["type"]?.text, error["message"]?.text].compactMap { $0 }.joined(separator: ": ")
  }

  /// Every field that is set, in the order the server sends them; the ones people look for first at the top.
  static func properties(_ run: JSONSlice) -> Properties {
    var properties = Properties()
    properties.add("run", run["id"]?.text)
    properties.add("task", run["task"]?.text)
    properties.add("state", run["state"]?.text, isState: true)
    properties.add("attempt", run["attempt"]?.text)
    let shown: Set<String> = ["id", "task", "state", "attempt"]
    for (key, value) in run.members where !shown.contains(key) {
      if value.isNull || value.bytes.elementsEqual("[]".utf8) || value.bytes.elementsEqual("{}".utf8) { continue }
      properties.add(key, key == "last_error" ? errorText(value) : value.text)
    }
    return properties
  }
}
