import Foundation
import TaskBridgeCore

/// Where the payload of a submission comes from.
struct PayloadSource: Sendable {
  /// Most bytes read; far above what a bridge accepts by default, so that the server names its own limit.
  static let bytesMax = 64 << 20

  var argument: String?
  /// When set the payload is bytes of this type, else it must be JSON.
  var contentType: String?

  /// Adds `payload`, or `payload_base64` and `content_type`.
  /// - Throws: `CommandFailure` with status 64 that names the file, or the line and column of what is no JSON.
  func add(to body: inout JSONObjectText) throws {
    guard let argument else {
      return contentType == nil ? body.add("payload", raw: "null".utf8) : addBytes([], to: &body)
    }
    let (bytes, origin) = try read(argument)
    if contentType != nil || bytes.isEmpty { return addBytes(bytes, to: &body) }
    try check(bytes, origin, hint: "; give other content with --content-type TYPE")
    body.add("payload", raw: bytes)
  }

  /// The bytes, which must be JSON.
  func json() throws -> [UInt8] {
    let (bytes, origin) = try read(argument ?? "null")
    try check(bytes, origin, hint: "")
    return bytes
  }

  private func check(_ bytes: [UInt8], _ origin: String, hint: String) throws {
    do {
      _ = try JSONValue.parse(bytes)
    } catch {
      throw CommandFailure.usage("\(origin) is no JSON: \(error)\(hint)")
    }
  }

  private func addBytes(_ bytes: [UInt8], to body: inout JSONObjectText) {
    body.add("payload_base64", Data(bytes).base64EncodedString())
    body.add("content_type", contentType ?? "application/octet-stream")
  }

  private func read(_ argument: String) throws -> (bytes: [UInt8], origin: String) {
    if argument == "-" {
      return (try FileReading.bytes(of: .standardInput, name: "stdin", atMost: Self.bytesMax), "the payload on stdin")
    }
    if argument.hasPrefix("@") {
      let path = String(argument.dropFirst())
      return (try FileReading.bytes(ofFile: path, atMost: Self.bytesMax), "the payload in '\(path)'")
    }
    return (Array(argument.utf8), "the payload")
  }
}

/// Reads small files whole.
enum FileReading {
  /// - Throws: `CommandFailure` with status 64 that names the path and the reason.
  static func bytes(ofFile path: String, atMost limit: Int) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw CommandFailure.usage("cannot read '\(Escaping.visible(path))': \(String(cString: strerror(errno)))")
    }
    return try bytes(
      of: FileHandle(fileDescriptor: descriptor, closeOnDealloc: true), name: "'\(Escaping.visible(path))'",
      atMost: limit)
  }

  static func bytes(of handle: FileHandle, name: String, atMost limit: Int) throws -> [UInt8] {
    let data: Data?
    do {
      data = try handle.read(upToCount: limit + 1)
    } catch {
      throw CommandFailure.usage("cannot read \(name): \((error as NSError).localizedDescription)")
    }
    guard let data else { return [] }
    guard data.count <= limit else {
      throw CommandFailure.usage("\(name) is larger than \(limit) bytes")
    }
    return Array(data)
  }
}
