import Yams

/// Turns the parser's errors into places and words. The text of the file is not repeated: it may hold a password.
enum YAMLFault {
  static func describe(_ error: any Error, in text: String, file: String) -> ConfigurationFault {
    guard let error = error as? YamlError else {
      return ConfigurationFault(place: "\(file):1:1", message: "is no YAML")
    }
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
      .composer(_, let problem, let mark, _):
      let hint = problem.contains("cannot start any token") ? "; indent with spaces, not tabs" : ""
      return ConfigurationFault(place: "\(file):\(mark)", message: problem + hint)
    case .duplicatedKeysInMapping(let duplicates, let context):
      let key = duplicates.min() ?? ""
      let place = secondPlace(of: key, in: text, from: context.mark.line) ?? context.mark.description
      return ConfigurationFault(
        place: "\(file):\(place)", message: "the key '\(Escaping.visible(key.prefix(80)))' is given twice")
    case .reader(let problem, let offset, _, let yaml):
      let before = yaml.prefix(offset ?? 0)
      let line = before.count { $0.isNewline } + 1
      let column = before.reversed().prefix { !$0.isNewline }.count + 1
      return ConfigurationFault(place: "\(file):\(line):\(column)", message: problem)
    case .no, .memory, .writer, .emitter, .representer, .dataCouldNotBeDecoded:
      return ConfigurationFault(place: "\(file):1:1", message: "is no YAML")
    }
  }

  /// The parser names only the mapping; the second line of the same indentation that begins with the key is what
  /// repeats it.
  private static func secondPlace(of key: String, in text: String, from firstLine: Int) -> String? {
    var indentation: Int?
    for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
    where index + 1 >= firstLine {
      let spaces = line.prefix { $0 == " " }.count
      let content = line.dropFirst(spaces).drop { $0 == "\"" || $0 == "'" }
      guard content.hasPrefix(key) else { continue }
      let rest = content.dropFirst(key.count).drop { $0 == "\"" || $0 == "'" || $0 == " " }
      guard rest.first == ":" else { continue }
      if indentation == nil {
        indentation = spaces
      } else if indentation == spaces {
        return "\(index + 1):\(spaces + 1)"
      }
    }
    return nil
  }
}
