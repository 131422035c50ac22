import Foundation
import Testing

@testable import TaskBridgeCLI

/// What becomes of a command that `work --exec` runs.
@Suite(.timeLimit(.minutes(1))) struct ExecutedCommandTests {
  private let reports = WorkerReports(worker: "w", node: "n", claim: "c", nextReportSeconds: 20)

  // As the program does at its start: a child that does not read its input is an error of write(2), not our end.
  init() { ProcessSetup.prepare() }

  @Test func thePayloadGoesInAndTheResultComesOut() async throws {
    let (state, report) = try await end(of: "cat", input: #"{"a": [1, 2.50]}"#)

    #expect(state == "completed")
    #expect(report["result"].map { String(decoding: $0.bytes, as: UTF8.self) } == #"{"a": [1, 2.50]}"#)
    #expect(report["claim"]?.string == "c")
  }

  @Test(arguments: [("echo hello", "\"hello\""), ("printf 'a\\nb'", "\"a\\nb\""), (":", "null"), ("echo 12", "12")])
  func outputThatIsNoJSONIsAString(command: String, result: String) async throws {
    let (_, report) = try await end(of: command)

    #expect(report["result"].map { String(decoding: $0.bytes, as: UTF8.self) } == result)
  }

  @Test func aStatusOtherThanZeroFailsTheAttempt() async throws {
    let (state, report) = try await end(of: "echo partial; echo 'no such user' >&2; exit 3")

    #expect(state == "failed")
    #expect(report["error"]?["type"]?.string == "exit_3")
    #expect(report["error"]?["message"]?.string == "no such user")
    #expect(report["error"]?["retryable"]?.bool == true)
    #expect(report["stderr"]?.string == "no such user\n")
    #expect(report["stdout"]?.string == "partial\n")
  }

  @Test func aMissingCommandIsNotTriedAgain() async throws {
    let (state, report) = try await end(of: "/no/such/command")

    #expect(state == "failed")
    #expect(report["error"]?["type"]?.string == "exit_127")
    #expect(report["error"]?["retryable"]?.bool == false)
  }

  @Test func aSignalIsNamed() async throws {
    let (state, report) = try await end(of: "kill -9 $$")

    #expect(state == "failed")
    #expect(report["error"]?["type"]?.string == "signal_SIGKILL")
  }

  @Test func endlessOutputIsCutAndTheEndOfStderrIsKept() async throws {
    let (state, report) = try await end(
      of: "head -c 100000000 /dev/zero | tr '\\0' x; seq 1 100000 >&2; exit 0")

    #expect(state == "completed")
    #expect((report["result"]?.bytes.count ?? 0) <= ExecutedCommand.resultBytesMax)
    #expect(report["stderr"]?.string?.count == WorkerReports.outputCharactersMax)
    #expect(report["stderr"]?.string?.hasSuffix("100000\n") == true)
  }

  @Test func aCommandThatIgnoresItsInputIsFine() async throws {
    let (state, _) = try await end(of: "exec <&-; true", input: String(repeating: "x", count: 4 << 20))

    #expect(state == "completed")
  }

  @Test func backgroundProcessesDoNotHoldUpTheEnd() async throws {
    let start = ContinuousClock.now

    let (state, report) = try await end(of: "sleep 30 & echo done")

    #expect(state == "completed")
    #expect(report["result"]?.string == "done")
    #expect(ContinuousClock.now - start < .seconds(15))
  }

  @Test func aStoppedCommandIsCancelledWithItsOutput() async throws {
    let command = command("trap 'echo bye; exit 4' INT; echo started; while :; do sleep 0.05; done")

    async let outcome = command.run()
    command.stop()
    let (state, body) = reports.end(try await outcome)

    #expect(state == "cancelled")
    #expect(JSONSlice(body)["error"] == nil)
  }

  @Test func aCommandThatFinishesInTimeHasCompleted() async throws {
    let command = command("trap '' INT; echo 1")

    async let outcome = command.run()
    let (state, _) = reports.end(try await outcome)
    command.stop()

    #expect(state == "completed")
  }

  @Test func theChildSeesItsEnvironmentAndNoDescriptorsOfOurs() async throws {
    // Counted after the shell has closed the folder it lists.
    let count = "n=0; for f in /proc/$$/fd/*; do [ -e \"$f\" ] && n=$((n+1)); done; echo $n"

    let (_, report) = try await end(of: "echo $TASKBRIDGE_RUN_ID; \(count)")

    #expect(report["result"]?.string == "r1\n3")
  }

  private func command(_ text: String, input: String = "") -> ExecutedCommand {
    ExecutedCommand(text, input: Array(input.utf8), environment: ["PATH": "/usr/bin:/bin", "TASKBRIDGE_RUN_ID": "r1"])
  }

  private func end(of text: String, input: String = "") async throws -> (String, JSONSlice) {
    let (state, body) = reports.end(try await command(text, input: input).run())
    return (state, JSONSlice(body))
  }
}
