/// An error of a command that ends the process: words for stderr, a problem object for `--output json`, an exit status.
struct CommandFailure: Error, Equatable, CustomStringConvertible {
  var status: ExitStatus
  /// Stable, snake_case.
  var code: String
  var message: String
  /// The server's own problem object, printed as it came.
  var problem: [UInt8]?

  init(_ status: ExitStatus, _ code: String, _ message: String, problem: [UInt8]? = nil) {
    self.status = status
    self.code = code
    self.message = message
    self.problem = problem
  }

  static func usage(_ message: String) -> CommandFailure { CommandFailure(.usage, "usage", message) }

  var description: String { message }

  /// The problem object (RFC 9457): the server's, or one of our own with `exit_status` in the place of an HTTP status.
  var json: [UInt8] {
    if let problem { return problem }
    let members = [
      #""type":"urn:taskbridge:problem:\#(code)""#,
      #""title":\#(JSONText.quoted(title))"#,
      #""code":\#(JSONText.quoted(code))"#,
      #""detail":\#(JSONText.quoted(message))"#,
      #""exit_status":\#(status.rawValue)"#,
    ]
    return Array("{\(members.joined(separator: ","))}".utf8)
  }

  private var title: String {
    switch status {
    case .ok: "OK"
    case .failed: "Failed"
    case .waitFailed: "Ended without success"
    case .notFound: "Not Found"
    case .conflict: "Conflict"
    case .unreachable: "Unreachable"
    case .notAllowed: "Not Allowed"
    case .usage: "Usage"
    }
  }
}
