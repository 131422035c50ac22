import ArgumentParser
import Foundation

extension DeadLettersCommand {
  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write dead letters as lines of JSON, with payload and error.",
      discussion: "`taskbridge submit --lines FILE` reads them back, as new runs; looking changes nothing.")

    @OptionGroup var target: Target
    @Option(
      name: [.customShort("o"), .customLong("out")], help: ArgumentHelp("Write to this file.", valueName: "file"))
    var file: String?
    @OptionGroup var client: ClientOptions

    func run() async throws {
      let body = try target.body()
      let bridge = try client.client()
      if target.bulk.dryRun {
        let answer = try await bridge.call("POST", "/v1/dead-letters/export", body: body.bytes)
        return client.printer.one(answer.body, BulkView.properties)
      }
      let downloaded = try await bridge.download("/v1/dead-letters/export", body: body.bytes)
      defer { unlink(downloaded) }
      guard let file else { return try FileCopy.toStandardOutput(downloaded) }
      try FileCopy.move(downloaded, to: file)
      StandardError.say("written to '\(Escaping.visible(file))'")
    }
  }

  struct Sync: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Bring the mirror queues in line with the table.",
      discussion: "Takes out messages of no unresolved dead letter and publishes those that are missing.")

    @OptionGroup var client: ClientOptions

    func run() async throws {
      let answer = try await client.client().call("POST", "/v1/dead-letters/sync", body: Array("{}".utf8))
      client.printer.page(answer.body, Table("TASK", "IN THE TABLE", "IN THE QUEUE", "TAKEN OUT", "PUBLISHED")) {
        table, item in
        table.add(
          item["task"]?.text, item["table"]?.text, item["queue"]?.text, item["removed"]?.text, item["added"]?.text)
      }
    }
  }
}

/// Files whose size is not known beforehand.
enum FileCopy {
  private static let chunkBytes = 1 << 16

  static func toStandardOutput(_ path: String) throws {
    guard let handle = FileHandle(forReadingAtPath: path) else { throw failure(path) }
    while let data = try handle.read(upToCount: chunkBytes), !data.isEmpty { StandardOutput.write(data) }
  }

  /// Replaces `target` in one step, wherever `path` lies.
  static func move(_ path: String, to target: String) throws {
    let part = target + ".part"
    unlink(part)
    do {
      try FileManager.default.moveItem(atPath: path, toPath: part)
    } catch {
      throw failure(target)
    }
    guard rename(part, target) == 0 else { throw failure(target) }
  }

  private static func failure(_ path: String) -> CommandFailure {
    CommandFailure(.failed, "file", "cannot write '\(Escaping.visible(path))': \(String(cString: strerror(errno)))")
  }
}
