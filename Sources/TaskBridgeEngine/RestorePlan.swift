package import AMQPClient
package import Logging
package import TaskBridgeCore
import TaskBridgeStore

/// What a start would do with the broker's queues, told without doing it: nothing is written to the store or declared on the
/// broker.
package struct RestorePlan: Sendable {
  /// What a start would make of the broker.
  package enum Broker: String, Sendable {
    /// The one this store last worked with.
    case same
    /// It carries no marker: never met, or it lost its data.
    case fresh
    /// It carries the marker of another store: refused without `--adopt-broker`.
    case otherStore = "other_store"
    /// It knows a later generation of the store, which is a restored backup then: refused without `--accept-rollback`.
    case newer
  }

  package struct Queue: Sendable {
    package let name: String
    package let task: TaskKey
    /// A to D; nil where nothing is expected.
    package let letter: String?
    package let expected: Int
    package let stale: Int
    package let unknown: Int
    /// Messages ready in the queue; nil when it does not exist.
    package let ready: Int?
    package let consumers: Int
    package let action: String
  }

  package let broker: Broker
  /// Reports that wait in the broker. They are judged first: each run among the expected that one ends or claims is one less.
  package let events: Int
  /// Messages that came back, which are judged first too.
  package let returned: Int
  package let queues: [Queue]

  /// Reads store and broker.
  ///
  /// - Parameter broker: how to reach it.
  /// - Throws: `StartError` with the exit status when the store cannot be read or the broker not be reached.
  package static func make(
    _ configuration: TaskBridgeConfiguration, broker: AMQPConfiguration, logger: Logger
  ) async throws(StartError) -> RestorePlan {
    let facts: RestoreFacts
    do {
      facts = try Store.restoreFacts(directory: configuration.dataDirectory)
    } catch {
      throw StartError(message: error.message, exitCode: 5)
    }
    do {
      let connection = try await AMQPConnection.open(broker, logger: logger)
      let plan = await planned(facts, configuration, connection, logger: logger)
      await connection.close()
      return try plan.get()
    } catch {
      throw StartError(message: "the broker cannot be asked: \(error)", exitCode: 5)
    }
  }

  private static func planned(
    _ facts: RestoreFacts, _ configuration: TaskBridgeConfiguration, _ connection: AMQPConnection, logger: Logger
  ) async -> Result<RestorePlan, any Error> {
    do {
      return .success(try await make(facts, configuration, connection, logger: logger))
    } catch {
      return .failure(error)
    }
  }

  private static func make(
    _ facts: RestoreFacts, _ configuration: TaskBridgeConfiguration, _ connection: AMQPConnection, logger: Logger
  ) async throws -> RestorePlan {
    let names = ObjectNames(prefix: configuration.prefix)
    let topology = Topology(
      connection: connection, names: names, configuration: configuration, clock: .system, logger: logger)
    let markers = MarkerQueue(connection: connection, names: names, storeID: facts.storeID)
    let (broker, incarnation): (Broker, String?) =
      switch try await markers.read(adopts: configuration.adoptBroker) {
      case .fresh: (.fresh, nil)
      case .own(let marker): (marker.generation > facts.generation ? .newer : .same, marker.incarnation)
      case .foreign(let marker): (.otherStore, marker.incarnation)
      }
    var queues: [Queue] = []
    for queue in facts.queues {
      let (ready, consumers) = try await topology.settledCount(queue.name)
      let which =
        queue.canMissAny
        ? RestoreCase.of(queue, ready: ready, consumers: consumers, isSameBroker: queue.broker == incarnation) : nil
      queues.append(
        Queue(
          name: queue.name, task: queue.task, letter: which?.rawValue, expected: queue.expected, stale: queue.stale,
          unknown: queue.unknown, ready: ready, consumers: consumers, action: action(which, queue)))
    }
    return RestorePlan(
      broker: broker, events: try await topology.look(names.events)?.messageCount ?? 0,
      returned: try await topology.look(names.returned)?.messageCount ?? 0, queues: queues)
  }

  private static func action(_ which: RestoreCase?, _ queue: QueueFacts) -> String {
    switch which {
    case .a: "send out the \(queue.expected) again (same attempt, next dispatch): they are not in this queue"
    case .b: "leave it: the broker holds them all"
    case .c: "purge it and send out the \(queue.expected) again (same attempt, next dispatch)"
    case .d: "leave it: consumers may hold what is missing; the queue probe decides later"
    case nil: "nothing: no message is expected"
    }
  }
}

extension RestorePlan: JSONWritable {
  package func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("broker", broker.rawValue)
      json.member("events", events)
      json.member("returned", returned)
      json.member("items", array: queues)
    }
  }
}

extension RestorePlan.Queue: JSONWritable {
  package func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("queue", name)
      json.member("task", task.rawValue)
      json.member("case", letter)
      json.member("expected", expected)
      json.member("stale", stale)
      json.member("unknown", unknown)
      json.member("ready", ready)
      json.member("consumers", consumers)
      json.member("action", action)
    }
  }
}
