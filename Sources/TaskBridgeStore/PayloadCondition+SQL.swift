import TaskBridgeCore

extension ComposedQuery {
  /// Conditions on the payload `p`, looked into only where it says it is JSON and is.
  mutating func require(_ conditions: [PayloadCondition]) {
    require(
      """
      (p.content_type IS NULL OR p.content_type LIKE 'application/json%' OR p.content_type LIKE '%+json%')
      AND (p.content_encoding IS NULL OR p.content_encoding = 'identity')
      """)
    for condition in conditions {
      let path = condition.path.sqlText
      switch condition.value {
      case .null: require(Self.ifJSON("json_type(CAST(p.body AS TEXT), ?) = 'null'"), path)
      case .bool(true): require(Self.ifJSON("json_type(CAST(p.body AS TEXT), ?) = 'true'"), path)
      case .bool(false): require(Self.ifJSON("json_type(CAST(p.body AS TEXT), ?) = 'false'"), path)
      case .number(let number):
        let value: any Bindable = number.int64 ?? number.double ?? 0.0
        require(
          Self.ifJSON(
            """
            json_extract(CAST(p.body AS TEXT), ?) = ?
            AND (json_type(CAST(p.body AS TEXT), ?) = 'integer' OR json_type(CAST(p.body AS TEXT), ?) = 'real')
            """), path, value, path, path)
      case .string(let text):
        require(
          Self.ifJSON("json_extract(CAST(p.body AS TEXT), ?) = ? AND json_type(CAST(p.body AS TEXT), ?) = 'text'"),
          path, text, path)
      // A condition is never about these.
      case .array, .object: require("0")
      }
    }
  }

  /// SQLite's functions end the whole query at a text that is no JSON.
  private static func ifJSON(_ condition: String) -> String {
    "CASE WHEN json_valid(CAST(p.body AS TEXT)) THEN \(condition) ELSE 0 END"
  }
}

extension PayloadPath {
  /// As SQLite writes it: every key in quotes.
  var sqlText: String {
    steps.reduce(into: "$") { text, step in
      switch step {
      case .key(let key): text += ".\"\(key)\""
      case .index(let index): text += "[\(index)]"
      }
    }
  }
}
