/// The rules of one field.
struct CronFieldKind {
  var name: String
  var range: ClosedRange<Int>
  /// In lower case; the first one stands for the smallest value.
  var names: [String] = []

  static let second = CronFieldKind(name: "second", range: 0...59)
  static let minute = CronFieldKind(name: "minute", range: 0...59)
  static let hour = CronFieldKind(name: "hour", range: 0...23)
  static let dayOfMonth = CronFieldKind(name: "day of month", range: 1...31)
  static let month = CronFieldKind(
    name: "month", range: 1...12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])
  static let dayOfWeek = CronFieldKind(
    name: "day of week", range: 0...6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"])

  /// Whether 7 is another way to write Sunday.
  private var isWeek: Bool { range.upperBound == 6 }

  /// - Parameter text: in lower case.
  func parse(_ text: String) throws(CronError) -> CronField {
    var field = CronField(bits: 0, startsWithStar: text.hasPrefix("*"))
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pieces = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
      let values = try values(pieces[0], isOpen: pieces.count == 2, in: text)
      let step = pieces.count == 2 ? try step(pieces[1], in: text) : 1
      for value in stride(from: values.lowerBound, through: values.upperBound, by: step) {
        field.bits |= 1 << UInt64(isWeek ? value % 7 : value)
      }
    }
    return field
  }

  /// - Parameter isOpen: whether a single value stands for all from there on.
  private func values(
    _ text: Substring, isOpen: Bool, in field: String
  ) throws(CronError) -> ClosedRange<Int> {
    if text == "*" { return range }
    let ends = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    var low = try value(ends[0], in: field)
    guard ends.count == 2 else {
      if isWeek, low == 7 { low = 0 }
      return low...(isOpen ? range.upperBound : low)
    }
    var high = try value(ends[1], in: field)
    if isWeek, high == 0, low > 0 { high = 7 }
    guard low <= high else {
      throw fault(
        "the range \(text.quoted) runs backwards; write "
          + "\(low)-\(range.upperBound),\(range.lowerBound)-\(high)", in: field)
    }
    return low...high
  }

  private func value(_ text: Substring, in field: String) throws(CronError) -> Int {
    if let index = names.firstIndex(of: String(text)) { return range.lowerBound + index }
    let upper = isWeek ? 7 : range.upperBound
    guard let value = number(text), value >= range.lowerBound, value <= upper else {
      let named = names.isEmpty ? "" : " or \(names[0].uppercased())-\(names[names.count - 1].uppercased())"
      let hint = isForeign(text) ? "; ?, L, W, # and H are not part of this grammar" : ""
      throw fault("\(text.quoted) is not allowed; allowed: \(range.lowerBound)-\(upper)\(named)\(hint)", in: field)
    }
    return value
  }

  private func step(_ text: Substring, in field: String) throws(CronError) -> Int {
    let allowed = 1...(isWeek ? 7 : range.upperBound)
    guard let step = number(text), allowed.contains(step) else {
      throw fault("the step \(text.quoted) is not allowed; allowed: 1-\(allowed.upperBound)", in: field)
    }
    return step
  }

  private func fault(_ text: String, in field: String) -> CronError {
    CronError("\(name) \(field.quotedForError): \(text)")
  }

  /// Whether it is what other readers of cron understand: `?`, `L`, `15W`, `5#2`.
  private func isForeign(_ text: Substring) -> Bool {
    text.contains { "?lw#h".contains($0) } && text.allSatisfy { "?lw#h()-0123456789".contains($0) }
  }

  /// One to four digits.
  private func number(_ text: Substring) -> Int? {
    guard (1...4).contains(text.utf8.count), text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) else { return nil }
    return Int(text)
  }
}

extension Substring {
  fileprivate var quoted: String { String(self).quotedForError }
}
