import TaskBridgeCore

/// Names of the broker's objects (`contract.md` §2).
package struct ObjectNames: Sendable {
  let prefix: String

  package init(prefix: String) { self.prefix = prefix }

  var submit: String { "\(prefix).submit" }
  var runs: String { "\(prefix).runs" }
  var events: String { "\(prefix).events" }
  var returned: String { "\(prefix).returned" }
  var dead: String { "\(prefix).dead" }
  var control: String { "\(prefix).control" }
  var lifecycle: String { "\(prefix).lifecycle" }
  /// Who owns this prefix on this broker.
  var owner: String { "\(prefix).marker" }

  func run(_ task: TaskKey) -> String { "\(prefix).run.\(task.rawValue)" }
  func dead(_ task: TaskKey) -> String { "\(prefix).dead.\(task.rawValue)" }
  func marker(_ storeID: String) -> String { "\(prefix).marker.\(storeID)" }
  func lock(_ storeID: String) -> String { "\(prefix).lock.\(storeID)" }

  /// Whether an answer may go to `replyTo`: never to one of our own objects (reliability.md §4 row 66), and of the
  /// broker's names only to direct reply-to and server-named queues.
  func mayAnswer(_ replyTo: String) -> Bool {
    if replyTo == prefix || replyTo.hasPrefix(prefix + ".") { return false }
    if replyTo.hasPrefix("amq.") {
      return replyTo.hasPrefix("amq.rabbitmq.reply-to") || replyTo.hasPrefix("amq.gen-")
    }
    return !replyTo.isEmpty
  }
}
