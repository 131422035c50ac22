import Foundation

/// What `dev` leaves beside its data about the broker it runs, for tools and for its own next start: `broker.json`.
struct BrokerRecord: Equatable, Sendable, Codable {
  /// Process of the node.
  var pid: pid_t
  /// AMQP port on 127.0.0.1.
  var port: Int
  var url: String
  var dataDirectory: String
  /// Process of the node's own port mapper.
  var epmdPID: pid_t?
  /// Word in the node's arguments by which its process is known again; pids are used again by the system.
  var marker: String

  enum CodingKeys: String, CodingKey {
    case pid, port, url, marker
    case dataDirectory = "data_directory"
    case epmdPID = "epmd_pid"
  }

  /// Reads the file; nil when there is none or it is not ours.
  static func read(_ path: String) -> BrokerRecord? {
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    do {
      return try JSONDecoder().decode(BrokerRecord.self, from: data)
    } catch {
      StandardError.say("'\(Escaping.visible(path))' cannot be read and is written anew")
      return nil
    }
  }

  /// Replaces the file in one step, so that a reader sees the old one or the new one.
  func write(_ path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let temporary = path + ".new"
    try encoder.encode(self).write(to: URL(fileURLWithPath: temporary))
    guard rename(temporary, path) == 0 else {
      throw CommandFailure(.failed, "write_failed", "cannot write '\(path)': \(String(cString: strerror(errno)))")
    }
  }

  /// Whether the node this tells of still runs.
  var isAlive: Bool { ProcessTable.isAlive(pid) && ProcessTable.arguments(pid).contains(marker) }

  /// Whether its port mapper still runs.
  var epmdIsAlive: Bool {
    guard let epmdPID, ProcessTable.isAlive(epmdPID) else { return false }
    return ProcessTable.arguments(epmdPID).first?.hasSuffix("epmd") ?? false
  }
}
