/// Why bytes are no JSON that TaskBridge reads.
public struct JSONError: Error, Equatable, Sendable {
  public enum Reason: Equatable, Sendable {
    case invalid(String)
    case tooDeep
    case duplicateKey(String)
    /// Something other than white space follows the document.
    case trailing
    case notUTF8
  }

  /// From 1.
  public var line: Int
  /// In characters (Unicode scalars) of the line, from 1.
  public var column: Int
  public var reason: Reason

  public init(line: Int, column: Int, reason: Reason) {
    self.line = line
    self.column = column
    self.reason = reason
  }
}

extension JSONError: CustomStringConvertible {
  public var description: String {
    let what =
      switch reason {
      case .invalid(let text): text
      case .tooDeep: "arrays and objects are nested too deep"
      case .duplicateKey(let key): "the key \(key.quotedForError) stands twice in one object"
      case .trailing: "more text follows the end of the JSON document"
      case .notUTF8: "the bytes are not valid UTF-8"
      }
    return "line \(line), column \(column): \(what)"
  }
}

extension Problem {
  /// The 400 that a broken document is answered with: `invalid_json`, `too_deep` or `duplicate_key`.
  /// - Parameter subject: what was to be read, such as `the body`.
  public init(_ error: JSONError, in subject: String = "the body") {
    switch error.reason {
    case .invalid, .trailing, .notUTF8: self.init(400, "invalid_json", "\(subject) is not valid JSON: \(error)")
    case .tooDeep: self.init(400, "too_deep", "\(subject) can't be read: \(error), at most 64 levels are allowed")
    case .duplicateKey: self.init(400, "duplicate_key", "\(subject) is ambiguous: \(error); give each key once")
    }
  }
}
