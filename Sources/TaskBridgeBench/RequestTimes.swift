import Foundation

/// How long requests take, one at a time, those that are compared in turn.
enum RequestTimes {
  /// Milliseconds of each request, in the order of the rounds.
  ///
  /// - Parameters:
  ///   - rounds: each one request for every port.
  ///   - ports: on loopback; the same one may stand there again.
  ///   - wanted: status of every answer.
  /// - Throws: `BenchError` at the first answer that has another one.
  static func measure(_ rounds: [[[UInt8]]], ports: [Int], wanted: Int) async throws -> [[Double]] {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(with: Result { try blockingMeasure(rounds, ports: ports, wanted: wanted) })
      }
    }
  }

  /// The median for each port, in milliseconds.
  ///
  /// - Parameter warmUp: so many rounds at the beginning do not count.
  static func medians(
    _ rounds: [[[UInt8]]], ports: [Int], wanted: Int, warmUp: Int
  ) async throws -> [Double] {
    let times = try await measure(rounds, ports: ports, wanted: wanted).dropFirst(warmUp)
    return ports.indices.map { side in times.map { $0[side] }.sorted()[times.count / 2] }
  }

  private static func blockingMeasure(_ rounds: [[[UInt8]]], ports: [Int], wanted: Int) throws -> [[Double]] {
    let connections = try ports.map { try HTTPLoadConnection(port: $0) }
    return try rounds.map { round in
      try zip(connections, round).map { connection, request in
        let begun = ContinuousClock.now
        let (status, body) = try connection.call(request)
        guard status == wanted else {
          throw BenchError("answered \(status), not \(wanted): \(String(decoding: body.prefix(400), as: UTF8.self))")
        }
        return (ContinuousClock.now - begun).seconds * 1_000
      }
    }
  }
}
