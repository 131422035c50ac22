import Foundation
import FoundationNetworking

/// Talks HTTP to a running bridge. Every refusal and every failure becomes a `CommandFailure` with its exit status.
struct BridgeClient: Sendable {
  static let defaultURL = "http://127.0.0.1:8085"
  /// Longest wait for one answer.
  static let requestTimeoutSeconds = 60.0

  struct Answer: Sendable {
    var status: Int
    var body: [UInt8]
    var json: JSONSlice { JSONSlice(body) }
  }

  /// Without a trailing slash.
  let base: String
  private let token: String?
  private let session: URLSession

  /// - Throws: `CommandFailure` with status 64 when `address` is no `http(s)://HOST…` URL.
  init(_ address: String, token: String?) throws {
    let trimmed = address.hasSuffix("/") ? String(address.dropLast()) : address
    guard let url = URL(string: trimmed), let scheme = url.scheme, ["http", "https"].contains(scheme),
      let host = url.host,
      !host.isEmpty, url.user == nil
    else {
      throw CommandFailure.usage(
        "'\(Escaping.visible(address))' is no address of a bridge: expected http://HOST:PORT, as in \(Self.defaultURL)")
    }
    base = trimmed
    self.token = token.flatMap { $0.isEmpty ? nil : $0 }
    let configuration = URLSessionConfiguration.ephemeral
    configuration.timeoutIntervalForRequest = Self.requestTimeoutSeconds
    session = URLSession(configuration: configuration)
  }

  /// The answer, whatever its status.
  /// - Throws: `CommandFailure` with status 5 when there is none.
  func exchange(
    _ method: String, _ path: String, _ query: Query = Query(), body: [UInt8]? = nil,
    contentType: String = "application/json", timeoutSeconds: Double? = nil
  ) async throws -> Answer {
    let request = try self.request(
      method, path, query, body: body, contentType: contentType, timeoutSeconds: timeoutSeconds)
    do {
      let (data, response) = try await session.data(for: request)
      guard let response = response as? HTTPURLResponse else {
        throw CommandFailure(.unreachable, "unreachable", "\(base) did not answer in HTTP")
      }
      return Answer(status: response.statusCode, body: Array(data))
    } catch let error as CommandFailure {
      throw error
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      if Task.isCancelled { throw CancellationError() }
      throw unreachable(error)
    }
  }

  private func request(
    _ method: String, _ path: String, _ query: Query, body: [UInt8]?, contentType: String, timeoutSeconds: Double?
  ) throws -> URLRequest {
    guard let url = URL(string: base + path + query.text) else {
      throw CommandFailure.usage("'\(Escaping.visible(base + path))' is no URL")
    }
    var request = URLRequest(url: url)
    request.httpMethod = method
    if let timeoutSeconds { request.timeoutInterval = timeoutSeconds }
    request.setValue("application/json", forHTTPHeaderField: "Accept")
    if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
    if let body {
      request.setValue(contentType, forHTTPHeaderField: "Content-Type")
      request.httpBody = Data(body)
    }
    return request
  }

  /// The path of a file with the answer, which may be of any size; whoever asked removes it.
  /// - Throws: `CommandFailure`, also for an answer that was cut off.
  func download(_ path: String, body: [UInt8]) async throws -> String {
    let request = try self.request(
      "POST", path, Query(), body: body, contentType: "application/json", timeoutSeconds: nil)
    let (file, response): (URL, URLResponse)
    do {
      (file, response) = try await session.download(for: request)
    } catch {
      if Task.isCancelled { throw CancellationError() }
      throw unreachable(error)
    }
    let status = (response as? HTTPURLResponse)?.statusCode ?? 0
    guard status >= 400 || status == 0 else { return file.path }
    let answer = Answer(status: status, body: try FileReading.bytes(ofFile: file.path, atMost: 1 << 20))
    unlink(file.path)
    throw refusal(answer)
  }

  /// The answer of a request that was carried out (status below 400).
  /// - Throws: `CommandFailure` with the exit status of the problem.
  func call(
    _ method: String, _ path: String, _ query: Query = Query(), body: [UInt8]? = nil,
    contentType: String = "application/json"
  ) async throws -> Answer {
    let answer = try await exchange(method, path, query, body: body, contentType: contentType)
    guard answer.status < 400 else { throw refusal(answer) }
    return answer
  }

  func get(_ path: String, _ query: Query = Query()) async throws -> Answer { try await call("GET", path, query) }

  /// What a refused request ends the command with.
  func refusal(_ answer: Answer) -> CommandFailure {
    let status = ExitStatus(httpStatus: answer.status)
    let problem = answer.json
    guard let code = problem["code"]?.string else {
      return CommandFailure(
        status, "unexpected_answer",
        "\(base) answered \(answer.status) without a problem object; is it a bridge?")
    }
    var lines = [problem["detail"]?.string ?? problem["title"]?.string ?? code]
    let faults = problem["errors"]?.elements ?? []
    // The detail of a single fault repeats it.
    for fault in faults where faults.count > 1 {
      lines.append("  \(fault["pointer"]?.string ?? ""): \(fault["detail"]?.string ?? "")")
    }
    if let seconds = problem["retry_after_seconds"]?.text { lines.append("  try again in \(seconds) s") }
    if answer.status == 401 { lines.append("  put a token with the right scope in TASKBRIDGE_TOKEN") }
    let text = lines.map { Escaping.visible($0) }.joined(separator: "\n")
    return CommandFailure(status, code, "\(text) (\(code))", problem: answer.body)
  }

  private func unreachable(_ error: any Error) -> CommandFailure {
    let reason: String
    switch (error as? URLError)?.code {
    case .cannotConnectToHost?: reason = "nothing listens there"
    case .cannotFindHost?, .dnsLookupFailed?: reason = "its name is unknown"
    case .timedOut?: reason = "no answer in time"
    case .networkConnectionLost?: reason = "the connection was cut"
    default: reason = (error as NSError).localizedDescription
    }
    return CommandFailure(
      .unreachable, "unreachable",
      "cannot reach the bridge at \(base): \(reason); start it with `taskbridge serve` or `taskbridge dev`, or "
        + "name it with --url or TASKBRIDGE_URL"
    )
  }
}
