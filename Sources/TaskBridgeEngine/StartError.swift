/// Why the bridge could not start or had to stop: one clear text with the next step, and the exit status that goes with it.
public struct StartError: Error, Equatable, CustomStringConvertible {
  /// Names the thing, the limit and what to do next; free of secrets.
  public var message: String
  /// Exit status of the process (`contract.md` §4): 1 failed, 5 store or broker unreachable, 64 usage.
  public var exitCode: Int32

  public init(message: String, exitCode: Int32) {
    self.message = message
    self.exitCode = exitCode
  }

  public var description: String { message }
}
