/// One thing `doctor` has looked at.
struct DoctorCheck: Sendable, Equatable {
  enum Status: String, Sendable {
    case ok, warning, failed
  }

  /// Stable, snake_case.
  var name: String
  var status: Status
  /// What was seen.
  var detail: String
  /// What to do about it; nil when nothing is to be done.
  var nextStep: String?

  static func ok(_ name: String, _ detail: String) -> DoctorCheck {
    DoctorCheck(name: name, status: .ok, detail: detail)
  }

  static func warning(_ name: String, _ detail: String, _ nextStep: String?) -> DoctorCheck {
    DoctorCheck(name: name, status: .warning, detail: detail, nextStep: nextStep)
  }

  static func failed(_ name: String, _ detail: String, _ nextStep: String?) -> DoctorCheck {
    DoctorCheck(name: name, status: .failed, detail: detail, nextStep: nextStep)
  }

  var json: String {
    var object = JSONObjectText()
    object.add("name", name)
    object.add("status", status.rawValue)
    object.add("detail", detail)
    object.add("next_step", nextStep)
    return String(decoding: object.bytes, as: UTF8.self)
  }

  /// A line for people, with the next step on a line of its own.
  func line(for terminal: Terminal, nameWidth: Int) -> String {
    let mark =
      switch status {
      case .ok: terminal.paint("ok     ", .green)
      case .warning: terminal.paint("warning", .yellow)
      case .failed: terminal.paint("FAILED ", .red)
      }
    let padded = name + String(repeating: " ", count: max(0, nameWidth - name.count))
    let indent = String(repeating: " ", count: 9 + nameWidth + 2)
    return "\(mark)  \(padded)  \(Escaping.visible(detail))\n"
      + (nextStep.map { "\(indent)→ \(Escaping.visible($0))\n" } ?? "")
  }
}
