import HTTPTypes
import TaskBridgeCore

/// What a route does with a request.
typealias Handler = @Sendable (Exchange) async throws(Problem) -> Answer

/// What body a route takes.
struct BodyRule: Sendable {
  var bytesMax: Int
  /// Essences of the content types taken; empty: whatever it says.
  var contentTypes: [String]
  var isRequired: Bool

  /// No body is looked at; what comes is thrown away.
  static let none = BodyRule(bytesMax: 0, contentTypes: [], isRequired: false)
  static let json = BodyRule(bytesMax: HTTPLimits.bodyBytesMax, contentTypes: ["application/json"], isRequired: true)
  static let optionalJSON = BodyRule(
    bytesMax: HTTPLimits.bodyBytesMax, contentTypes: ["application/json"], isRequired: false)

  /// A submission whose payload may have so many bytes; given as base64 it is a third longer.
  static func submission(payloadBytesMax: Int) -> BodyRule {
    BodyRule(
      bytesMax: payloadBytesMax / 3 * 4 + HTTPLimits.submissionExtraBytes, contentTypes: ["application/json"],
      isRequired: true)
  }

  var isRead: Bool { bytesMax > 0 }
}

struct Route: Sendable {
  var body: BodyRule
  var handler: Handler
}

/// Finds the route of a request: a tree of path segments, literal ones before `{…}`.
struct Router: Sendable {
  enum Match {
    case route(Route, captures: [String])
    /// The path exists, the method does not; what there is.
    case methodNotAllowed([String])
    case notFound
  }

  private struct Node: Sendable {
    var literals: [String: Int] = [:]
    var capture: Int?
    var routes: [HTTPRequest.Method: Route] = [:]
  }

  private var nodes = [Node()]
  /// `GET /v1/runs/{id}`, in the order they were added.
  private(set) var descriptions: [String] = []

  mutating func on(_ method: HTTPRequest.Method, _ path: String, body: BodyRule = .none, _ handler: @escaping Handler) {
    var node = 0
    for segment in path.split(separator: "/") {
      if let next = segment.hasPrefix("{") ? nodes[node].capture : nodes[node].literals[String(segment)] {
        node = next
        continue
      }
      nodes.append(Node())
      if segment.hasPrefix("{") {
        nodes[node].capture = nodes.count - 1
      } else {
        nodes[node].literals[String(segment)] = nodes.count - 1
      }
      node = nodes.count - 1
    }
    precondition(nodes[node].routes[method] == nil, "two routes for \(method) \(path)")
    nodes[node].routes[method] = Route(body: body, handler: handler)
    descriptions.append("\(method.rawValue) \(path)")
  }

  func match(_ method: HTTPRequest.Method, _ segments: [String]) -> Match {
    var node = 0
    var captures: [String] = []
    for segment in segments {
      if let next = nodes[node].literals[segment] {
        node = next
      } else if let next = nodes[node].capture, !segment.isEmpty {
        captures.append(segment)
        node = next
      } else {
        return .notFound
      }
    }
    let routes = nodes[node].routes
    // An answer to HEAD is that to GET without its body.
    if let route = routes[method == .head ? .get : method] { return .route(route, captures: captures) }
    if routes.isEmpty { return .notFound }
    return .methodNotAllowed(routes.keys.map(\.rawValue).sorted() + (routes[.get] == nil ? [] : ["HEAD"]))
  }
}
