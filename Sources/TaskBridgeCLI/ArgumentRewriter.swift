/// Adapts the command line to what the parser understands.
enum ArgumentRewriter {
  /// What a `--wait` without a value becomes.
  static let waitForever = "forever"

  /// `--wait` may stand alone, with `=30s`, or before a duration; the parser knows only options that take a value.
  static func rewritten(_ arguments: [String]) -> [String] {
    guard arguments.first == "submit" else { return arguments }
    var result: [String] = []
    var rest = arguments[...]
    while let argument = rest.popFirst() {
      if argument == "--" { return result + [argument] + rest }
      guard argument == "--wait" else {
        result.append(argument)
        continue
      }
      if let next = rest.first, next.last?.isLetter == true, DurationArgument(argument: next) != nil {
        result.append("--wait=\(next)")
        rest = rest.dropFirst()
      } else {
        result.append("--wait=\(waitForever)")
      }
    }
    return result
  }

  /// Whether errors are to be printed as problem objects.
  static func asksForJSON(_ arguments: [String]) -> Bool {
    let relevant = arguments.prefix { $0 != "--" }
    for (index, argument) in relevant.enumerated() {
      if argument == "--output=json" || argument == "--output=jsonl" { return true }
      if argument == "--output", index + 1 < relevant.count, ["json", "jsonl"].contains(relevant[index + 1]) {
        return true
      }
    }
    return false
  }
}
