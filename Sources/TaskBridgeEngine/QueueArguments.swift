package import AMQPClient
package import TaskBridgeCore

/// The arguments of the queues as the bridge declares them.
extension TaskBridgeConfiguration {
  /// Classic: the mirror's messages are looked at and put back any number of times, which a quorum queue's delivery limit
  /// would end; the table is the truth.
  package static var deadQueueArguments: [String: AMQPValue] { ["x-queue-type": "classic"] }

  var fixedQueueArguments: [String: AMQPValue] { ["x-queue-type": .string(queueType.rawValue)] }

  func runQueueArguments(_ task: TaskKey) -> [String: AMQPValue] {
    [
      "x-queue-type": .string((tasks[task]?.queueType ?? queueType).rawValue),
      "x-dead-letter-exchange": .string(ObjectNames(prefix: prefix).returned),
    ]
  }

  /// Every queue the bridge would have for `tasks`, with the arguments it would give it.
  package func wantedQueues(_ tasks: [TaskKey]) -> [(name: String, arguments: [String: AMQPValue])] {
    let names = ObjectNames(prefix: prefix)
    return [names.submit, names.events, names.returned].map { ($0, fixedQueueArguments) }
      + tasks.map { (names.run($0), runQueueArguments($0)) }
      + tasks.map { (names.dead($0), Self.deadQueueArguments) }
  }
}
