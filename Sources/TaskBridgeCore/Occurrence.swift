/// One time at which a schedule runs: its nominal time.
public struct Occurrence: Equatable, Sendable {
  public var at: Timestamp
  /// What the clocks of the schedule's zone are ahead of UTC at that moment, in seconds.
  public var offsetSeconds: Int
  /// What daylight saving did to it, or to those between the one before and it; mostly empty.
  public var notes: [ClockNote]

  init(at moment: Timestamp, offsetSeconds: Int, notes: [ClockNote] = []) {
    at = moment
    self.offsetSeconds = offsetSeconds
    self.notes = notes
  }

  /// - Parameter second: since 1970-01-01T00:00:00Z.
  init(at second: Int, offsetSeconds: Int, notes: [ClockNote]) {
    self.init(
      at: Timestamp(milliseconds: Int64(second) * 1000), offsetSeconds: offsetSeconds, notes: notes)
  }

  /// The local time with its offset: `2026-03-29T03:00:00+02:00`, with milliseconds only when they are not 0.
  public var localText: String {
    let second = Int(at.milliseconds).flooredDivision(by: 1000)
    let fraction = Int(at.milliseconds) - second * 1000
    let size = Int(offsetSeconds.magnitude)
    var text = CivilTime(seconds: second + offsetSeconds).description
    if fraction != 0 { text += fraction < 10 ? ".00\(fraction)" : fraction < 100 ? ".0\(fraction)" : ".\(fraction)" }
    text += (offsetSeconds < 0 ? "-" : "+") + twoDigits(size / 3600) + ":" + twoDigits(size / 60 % 60)
    // Only before standard time, in the 19th century, do offsets have seconds.
    return size % 60 == 0 ? text : text + ":" + twoDigits(size % 60)
  }

  /// The notes as one text for people; `nil` when there is nothing to say.
  public var note: String? {
    notes.isEmpty ? nil : notes.map(\.description).joined(separator: "; ")
  }
}

extension Occurrence: JSONWritable {
  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("at", at)
      json.member("local", localText)
      json.member("note", note)
    }
  }
}
