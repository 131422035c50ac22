import ArgumentParser
import Foundation

/// What scripts/cost runs under callgrind: a fixed batch of work, without a broker and without a clock.
struct CostCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cost",
    abstract: "Drives runs through submit, release, confirm and report in one process; for scripts/cost.",
    discussion: "Counted is the difference between two calls, so that start-up and warm-up are left out.")

  @Option(help: "Runs to count, a multiple of \(CostBatch.runs).") var runs = 1_000

  func validate() throws {
    guard (0...1_000_000).contains(runs), runs % CostBatch.runs == 0 else {
      throw ValidationError("--runs must be 0 to 1000000, a multiple of \(CostBatch.runs)")
    }
  }

  func run() async throws {
    var template = Array("/tmp/taskbridge-cost-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw BenchError("no folder under /tmp") }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var batch = try CostBatch(folder: folder)
    // Statements are prepared and caches filled once; that is not the cost of a run.
    for _ in 0..<CostBatch.warmUps { try await batch.drive() }
    let begun = ContinuousClock.now
    for _ in 0..<(runs / CostBatch.runs) { try await batch.drive() }
    let seconds = (ContinuousClock.now - begun).seconds
    await batch.close()
    print(#"{"runs":\#(runs),"seconds":\#(seconds)}"#)
  }
}
