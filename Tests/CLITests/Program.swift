import Foundation

/// Runs the built `taskbridge`, which lies beside the tests.
enum Program {
  struct End {
    var status: Int32
    var output: String
    var errors: String
  }

  struct Running {
    let process: Process
    let output: Pipe
    let errors: Pipe

    func end() -> End {
      let output = output.fileHandleForReading.readDataToEndOfFile()
      let errors = errors.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return End(
        status: process.terminationStatus, output: String(decoding: output, as: UTF8.self),
        errors: String(decoding: errors, as: UTF8.self))
    }
  }

  static let path = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    .appendingPathComponent("taskbridge").path

  static func run(_ arguments: [String]) throws -> End { try start(arguments).end() }

  /// A line of bash; `$0` is the program.
  static func shell(_ line: String) throws -> End { try start("/bin/bash", ["-c", line, path]).end() }

  static func start(_ arguments: [String]) throws -> Running { try start(path, arguments) }

  private static func start(_ program: String, _ arguments: [String]) throws -> Running {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: program)
    process.arguments = arguments
    process.environment = ["PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C"]
    let output = Pipe()
    let errors = Pipe()
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = FileHandle.nullDevice
    try process.run()
    return Running(process: process, output: output, errors: errors)
  }

  static func object(_ text: String) throws -> [String: Any] {
    let value = try JSONSerialization.jsonObject(with: Data(text.utf8))
    return value as? [String: Any] ?? [:]
  }
}
