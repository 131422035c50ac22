import ArgumentParser
import TaskBridgeCore

/// A length of time on the command line: `500ms`, `10s`, `5m`, `2h`, `1d`, or plain seconds.
struct DurationArgument: Equatable, Sendable {
  /// Finite, never negative.
  var seconds: Double

  /// Nil when the text is no such length.
  init?(argument: String) {
    let units: [(suffix: String, factor: Double)] = [
      ("ms", 0.001), ("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400), ("", 1),
    ]
    for unit in units where argument.hasSuffix(unit.suffix) {
      let digits = argument.dropLast(unit.suffix.count)
      guard let first = digits.first, first.isASCII, first.isNumber,
        digits.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }), let value = Double(digits), value.isFinite
      else { return nil }
      seconds = value * unit.factor
      return
    }
    return nil
  }

  static func parse(_ text: String) throws -> Double {
    guard let duration = DurationArgument(argument: text) else {
      throw ValidationError("expected a length of time that is not negative, such as 500ms, 10s, 5m, 2h or 1d")
    }
    return duration.seconds
  }
}

/// Readers for the values of options and arguments; each throws a `ValidationError` that says what is allowed.
enum ArgumentReader {
  /// A point in time with its zone (RFC 3339), handed on as it was written.
  static func time(_ text: String) throws -> String {
    do {
      _ = try Timestamp(rfc3339: text)
      return text
    } catch {
      throw ValidationError("expected a time with its zone, such as 2026-11-20T23:39:00Z or 2026-11-20T23:39:00+01:00")
    }
  }

  /// `key=value`.
  static func tag(_ text: String) throws -> Tag {
    guard let equals = text.firstIndex(of: "="), equals > text.startIndex else {
      throw ValidationError("expected KEY=VALUE")
    }
    return Tag(key: String(text[..<equals]), value: String(text[text.index(after: equals)...]))
  }

  struct Tag: Equatable, Sendable {
    var key: String
    var value: String
  }

  /// The id of a run, in lower case.
  static func run(_ text: String) throws -> String {
    guard let run = RunID(text) else {
      throw ValidationError(
        "expected the id of a run, a UUID such as 01985c2e-7d2a-7c3b-9a51-0123456789ab; `taskbridge runs` lists them")
    }
    return run.description
  }

  /// The id of a job, in lower case.
  static func job(_ text: String) throws -> String {
    guard let job = RunID(text) else {
      throw ValidationError("expected the id of a job, a UUID as `taskbridge jobs` lists them")
    }
    return job.description
  }

  /// A task key (`contract.md` §1).
  static func task(_ text: String) throws -> String {
    guard let task = TaskKey(text) else {
      throw ValidationError("expected a task key, 1 to 120 characters that match \(TaskKey.grammar)")
    }
    return task.rawValue
  }
}
