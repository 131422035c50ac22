import AMQPClient
import TaskBridgeCore

/// The requests of the row, each to both bridges in turn.
struct GrowProbe {
  /// Requests of each kind and bridge; the figure is their median.
  static let requests = 400
  static let warmUp = 50

  /// Median milliseconds of one kind.
  struct Figure {
    let kind: String
    let small: Double
    let large: Double
  }

  let small: BridgeProcess
  let large: BridgeProcess
  let bench: Bench

  private var count: Int { Self.requests + Self.warmUp }

  func figures() async throws -> [Figure] {
    let payload = String(decoding: StoreSample.payload(bytes: 256).bytes, as: UTF8.self)
    let post = HTTPLoadConnection.request(
      "POST", "/v1/runs", body: Array(#"{"task":"\#(StoreSample.task)","payload":\#(payload)}"#.utf8))
    var figures = [try await figure("submit", Array(repeating: [post, post], count: count), wanted: 201)]
    let reports = zip(try await reports(to: small), try await reports(to: large)).map { [$0, $1] }
    figures.append(try await figure("report", reports, wanted: 200))
    for (kind, path) in [
      ("list page", "/v1/runs?limit=100"),
      ("list page of a state", "/v1/runs?task=\(StoreSample.task)&state=completed&limit=100"),
      ("snapshot", "/v1/snapshot"),
    ] {
      let get = HTTPLoadConnection.request("GET", path)
      figures.append(try await figure(kind, Array(repeating: [get, get], count: count), wanted: 200))
    }
    let paths = [try await explainPath(small), try await explainPath(large)]
    // A bridge without the route is measured by the others.
    if try await HTTPProbe.call(port: small.httpPort, paths[0]).status == 200 {
      let gets = paths.map { HTTPLoadConnection.request("GET", $0) }
      figures.append(try await figure("explain", Array(repeating: gets, count: count), wanted: 200))
    }
    return figures
  }

  private func explainPath(_ bridge: BridgeProcess) async throws -> String {
    let page = try await bridge.get("/v1/runs?limit=1")
    guard let id = page["items"]?.arrayValue?.first?.objectValue?["id"]?.stringValue else {
      throw BenchError("the list of runs is empty")
    }
    return "/v1/runs/\(id)/explain"
  }

  /// Takes the messages of what was submitted, as a worker does, and makes the reports of it.
  private func reports(to bridge: BridgeProcess) async throws -> [[UInt8]] {
    let connection = try await bench.broker().connect("bench grow")
    defer { Task { await connection.close() } }
    var reports: [[UInt8]] = []
    let deadline = ContinuousClock.now + .seconds(60)
    while reports.count < count {
      if let delivery = try await connection.get(bridge.names.runQueue(StoreSample.task), acknowledge: true) {
        connection.settle(acknowledged: [delivery.deliveryTag])
        let token = delivery.properties.correlationID ?? ""
        reports.append(
          HTTPLoadConnection.request(
            "POST", "/v1/attempts/report", body: Array(#"{"token":"\#(token)","state":"completed","result":1}"#.utf8)))
      } else {
        guard ContinuousClock.now < deadline else {
          throw BenchError("\(reports.count) of \(count) runs were released")
        }
        try await Task.sleep(for: .milliseconds(20))
      }
    }
    return reports
  }

  /// - Parameter rounds: each a request to the small and one to the large bridge.
  private func figure(_ kind: String, _ rounds: [[[UInt8]]], wanted: Int) async throws -> Figure {
    let medians = try await RequestTimes.medians(
      rounds, ports: [small.httpPort, large.httpPort], wanted: wanted, warmUp: Self.warmUp)
    return Figure(kind: kind, small: medians[0], large: medians[1])
  }
}
