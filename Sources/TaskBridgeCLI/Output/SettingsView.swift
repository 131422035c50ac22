import TaskBridgeCore

/// How settings are given and shown.
enum SettingsView {
  /// A value that is JSON is taken as it is, any other text as a string.
  static func body(_ settings: [ArgumentReader.Tag]) -> [UInt8] {
    var body = JSONObjectText()
    for setting in settings { add(setting, to: &body) }
    return body.bytes
  }

  static func add(_ setting: ArgumentReader.Tag, to body: inout JSONObjectText) {
    if isJSON(setting.value) {
      body.add(setting.key, raw: setting.value.utf8)
    } else {
      body.add(setting.key, setting.value)
    }
  }

  private static func isJSON(_ text: String) -> Bool {
    do {
      _ = try JSONValue.parse(text)
      return true
    } catch {
      return false
    }
  }

  static func pause(_ item: JSONSlice) -> String? {
    guard item["paused"]?.bool == true else { return nil }
    return item["paused_until"]?.text.map { "until \($0)" } ?? "yes"
  }

  /// Counts first, then every setting on a line of its own.
  static func properties(_ item: JSONSlice) -> Properties {
    var properties = Properties()
    for (key, value) in item.members where key != "settings" { properties.add(key, value.text) }
    for (key, value) in item["settings"]?.members ?? [] { properties.add(key, value.text) }
    return properties
  }
}
