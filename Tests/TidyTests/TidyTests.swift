import Foundation
import Testing

/// What no compiler checks, read from the sources themselves.
@Suite struct TidyTests {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  static func files(under folder: String) throws -> [(path: String, lines: [String])] {
    let base = root.appendingPathComponent(folder)
    let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
    return try paths.filter { $0.hasSuffix(".swift") }.sorted().map { path in
      let text = try String(contentsOf: base.appendingPathComponent(path), encoding: .utf8)
      return (folder + "/" + path, text.components(separatedBy: "\n"))
    }
  }

  /// Lines of `folder` that match `pattern`, comments left out.
  private func matches(_ pattern: String, in folder: String) throws -> [String] {
    let expression = try Regex(pattern)
    return try Self.files(under: folder).flatMap { file in
      file.lines.enumerated().compactMap { number, line in
        let code = line.trimmingCharacters(in: .whitespaces)
        guard !code.hasPrefix("//"), code.firstMatch(of: expression) != nil else { return nil }
        return "\(file.path):\(number + 1): \(code)"
      }
    }
  }

  @Test func thereIsSomethingToRead() throws {
    #expect(try Self.files(under: "Sources").count > 50)
  }

  @Test func theCoreImportsNothing() throws {
    #expect(try matches("^(public |package |internal )?import ", in: "Sources/TaskBridgeCore") == [])
  }

  @Test(arguments: ["Sources/TaskBridgeCore", "Sources/TaskBridgeStore"])
  func timeAndChanceComeInAsParameters(folder: String) throws {
    let found = try matches(
      #"\bDate\(\)|(Date|Clock|Instant|DispatchTime)(\(\))?\.now|CURRENT_TIMESTAMP|SystemRandom|clock_gettime"#,
      in: folder)
    #expect(found == [])
  }

  @Test(arguments: [
    ("TaskBridgeStore", ["AMQPClient", "Hummingbird", "TaskBridgeEngine", "CRabbitMQ"]),
    ("AMQPClient", ["TaskBridgeCore", "TaskBridgeStore", "GRDB", "Foundation"]),
    ("TaskBridgeEngine", ["CRabbitMQ", "GRDB", "GRDBSQLite", "Hummingbird"]),
    ("TaskBridgeHTTP", ["TaskBridgeStore", "AMQPClient", "GRDB", "CRabbitMQ"]),
    ("TaskBridgeCLI", ["CRabbitMQ", "GRDB", "GRDBSQLite"]),
  ])
  func nobodyImportsAcrossTheHouse(target: String, forbidden: [String]) throws {
    for module in forbidden {
      #expect(try matches("^(public |package |internal )?import \(module)$", in: "Sources/\(target)") == [])
    }
  }

  @Test func noTestFunctionIsForgotten() throws {
    for file in try Self.files(under: "Tests") where !file.path.contains("TidyTests") {
      for (number, line) in file.lines.enumerated() where line.contains("func test") && line.contains("()") {
        let before = number > 0 ? file.lines[number - 1] : ""
        #expect(line.contains("@Test") || before.contains("@Test"), "\(file.path):\(number + 1) is never run")
      }
    }
  }

  @Test func noTestSleepsOrIsSkipped() throws {
    let found = try matches(#"Task\.sleep|usleep|\bsleep\(|\.disabled\(|XCTSkip|\.enabled\(if"#, in: "Tests")
      // The one sleep there is is the deadline after which a test fails instead of hanging.
      .filter { !$0.contains("TidyTests") && !$0.contains("Task.sleep(for: limit)") }
    #expect(found == [])
  }

  @Test func nothingIsLeftUnfinishedOrUnchecked() throws {
    #expect(try matches(#"TODO|FIXME|fatalError\(|try!"#, in: "Sources") == [])
  }

  @Test func valuesReachSQLAsParametersOnly() throws {
    // Interpolations into SQL are column lists and lists of states, which the code itself writes.
    let found = try matches(#"(SELECT|INSERT|UPDATE|DELETE) .*\\\("#, in: "Sources/TaskBridgeStore").filter { line in
      ![
        "query.whereClause", "Run.columns", "Record.columns", "Attempt.columns", "Schema.", "waiting", "auditColumns",
        "Columns",
        "source", "index.",
      ].contains {
        line.contains($0)
      }
    }
    #expect(found == [])
  }
}
