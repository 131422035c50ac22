import ArgumentParser

/// `taskbridge healthcheck`: for container and service managers.
struct HealthcheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "healthcheck", abstract: "Ask the bridge whether it is ready.",
    discussion: "Exit status: 0 ready, 1 not ready (the answer says why), 5 no bridge there.")

  /// Longest wait for the answer; health checks are repeated anyway.
  static let timeoutSeconds = 5.0

  @OptionGroup var client: ClientOptions

  func run() async throws {
    let answer = try await client.client().exchange("GET", "/readyz", timeoutSeconds: Self.timeoutSeconds)
    if client.output.output != .table {
      StandardOutput.writeLine(answer.json.line)
    } else {
      StandardOutput.write(answer.status == 200 ? "ready\n" : "not ready: \(Self.reason(answer))\n")
    }
    if answer.status != 200 { throw ExitStatus.failed.code }
  }

  /// Why a bridge is not ready, in one line.
  static func reason(_ answer: BridgeClient.Answer) -> String {
    let json = answer.json
    let reasons = (json["reasons"]?.elements ?? []).compactMap(\.text).joined(separator: ", ")
    if !reasons.isEmpty { return Escaping.visible(reasons) }
    return Escaping.visible(json["detail"]?.text ?? String(decoding: answer.body.prefix(200), as: UTF8.self))
  }
}
