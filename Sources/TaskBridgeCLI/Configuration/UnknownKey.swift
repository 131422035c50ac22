import TaskBridgeCore

/// What is said of a key nobody knows.
enum UnknownKey {
  /// `unknown key 'quue_bound'; did you mean 'queue_bound'?`
  static func text(_ name: String, among known: [String]) -> String {
    let shown = "unknown key '\(Escaping.visible(name.prefix(80)))'"
    guard let nearest = nearestName(to: name, among: known) else {
      return "\(shown); known are \(known.joined(separator: ", "))"
    }
    return "\(shown); did you mean '\(nearest)'?"
  }
}
