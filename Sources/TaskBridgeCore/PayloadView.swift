/// A payload that a replay's patch has replaced.
public struct PayloadView: Sendable, Equatable, JSONWritable {
  /// The number of the replay that replaced it, from 1.
  public var replay: Int
  public var replacedAt: Timestamp
  /// Who asked for the replay.
  public var actor: String
  public var payload: Payload

  public init(replay: Int, replacedAt: Timestamp, actor: String, payload: Payload) {
    self.replay = replay
    self.replacedAt = replacedAt
    self.actor = actor
    self.payload = payload
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("replay", replay)
      json.member("replaced_at", replacedAt)
      json.member("actor", actor)
      payload.write(into: &json)
    }
  }
}
