import ArgumentParser
import Foundation
import Logging
import Synchronization

/// `taskbridge-bench ROW`: one measurement, one JSON line.
@main
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "taskbridge-bench",
    abstract: "Measures a bridge on this machine: one row of docs/performance.md per call.",
    discussion: """
      An absolute figure means little on a shared machine; the ratios are taken within one run. Everything is fully \
      durable: synchronous=FULL, persistent messages, publisher confirms, acknowledgement after the commit.
      """,
    subcommands: rows)

  /// Every row, in the order of the table.
  static let rows: [any ParsableCommand.Type] = [
    RowCommand<LimitRow>.self,
    RowCommand<EndToEndRow>.self,
    RowCommand<SubmitAMQPRow>.self,
    RowCommand<SubmitHTTPRow>.self,
    RowCommand<ReportRow>.self,
    RowCommand<LatencyRow>.self,
    RowCommand<DueRow>.self,
    RowCommand<PriorityRow>.self,
    RowCommand<KeysRow>.self,
    RowCommand<ReplayRow>.self,
    RowCommand<LookupsRow>.self,
    RowCommand<RestoreRow>.self,
    RowCommand<GrowRow>.self,
    RowCommand<MemoryRow>.self,
    CostCommand.self,
  ]

  static func main() async {
    signal(SIGPIPE, SIG_IGN)
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      handler.logLevel = .warning
      return handler
    }
    await main(nil)
  }
}

/// The subcommand of a row.
struct RowCommand<Row: BenchRow>: AsyncParsableCommand {
  static var configuration: CommandConfiguration { CommandConfiguration(commandName: Row.name, abstract: Row.about) }

  @OptionGroup var options: BenchOptions

  func run() async throws {
    let bench = Bench(options)
    let signals = StopSignals { await bench.close() }
    defer { signals.cancel() }
    let result: RowResult
    do {
      result = try await Self.bounded(seconds: options.timeout) { try await Row.run(bench) }
    } catch {
      await bench.close()
      if let number = signals.received { throw ExitCode(128 + number) }
      StandardError.say("\(Row.name): \(error)")
      throw ExitCode.failure
    }
    let report = RowReport(result, bench: bench)
    await bench.close()
    print(report.jsonLine)
    if options.table || isatty(STDERR_FILENO) == 1 { StandardError.say(report.table) }
  }

  /// - Throws: `BenchError` when `body` is not done in time.
  private static func bounded(
    seconds: Double, _ body: @escaping @Sendable () async throws -> RowResult
  ) async throws -> RowResult {
    try await withThrowingTaskGroup(of: RowResult?.self) { group in
      group.addTask { try await body() }
      group.addTask {
        try await Task.sleep(for: .seconds(seconds))
        return nil
      }
      defer { group.cancelAll() }
      guard let result = try await group.next() ?? nil else {
        throw BenchError("not done after \(seconds) s (--timeout)")
      }
      return result
    }
  }
}

/// Ends what was started when we are asked to end; the row then fails for want of it.
struct StopSignals {
  private final class First: Sendable {
    let number = Mutex<Int32?>(nil)
  }

  private let first: First
  private let sources: [any DispatchSourceSignal]

  /// The signal that came, if any.
  var received: Int32? { first.number.withLock { $0 } }

  init(_ close: @escaping @Sendable () async -> Void) {
    let first = First()
    self.first = first
    sources = [SIGINT, SIGTERM, SIGHUP].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        first.number.withLock { $0 = $0 ?? number }
        Task {
          await close()
          exit(128 + number)
        }
      }
      source.activate()
      return source
    }
  }

  func cancel() { sources.forEach { $0.cancel() } }
}
