import Foundation

/// Writes data to stdout, unbuffered, so that what was printed before a failure is out.
enum StandardOutput {
  /// Writes all bytes. A closed reader (`| head`) ends the process quietly; any other failure ends it with status 1.
  static func write(_ bytes: some Collection<UInt8>) {
    guard let code = writeAll(bytes, to: STDOUT_FILENO) else { return }
    if code == EPIPE { exit(ExitStatus.ok.rawValue) }
    StandardError.say("cannot write the output: \(String(cString: strerror(code)))")
    exit(ExitStatus.failed.rawValue)
  }

  static func write(_ text: String) { write(text.utf8) }

  /// Writes the bytes and a line end, unless they end with one.
  static func writeLine(_ bytes: some Collection<UInt8>) {
    var line = Array(bytes)
    if line.last != UInt8(ascii: "\n") { line.append(UInt8(ascii: "\n")) }
    write(line)
  }
}

/// Writes words to stderr; that nobody reads them is no reason to fail.
enum StandardError {
  static func say(_ text: String) {
    write(text.hasSuffix("\n") ? text : text + "\n")
  }

  /// The same without a line end, for a line that is written again.
  static func write(_ text: String) { _ = writeAll(text.utf8, to: STDERR_FILENO) }
}

/// Writes all bytes to a descriptor and returns nil, or the errno that stopped it.
private func writeAll(_ bytes: some Collection<UInt8>, to descriptor: Int32) -> Int32? {
  let contiguous = Array(bytes)
  return contiguous.withUnsafeBytes { buffer -> Int32? in
    var offset = 0
    while offset < buffer.count {
      let count = write(descriptor, buffer.baseAddress?.advanced(by: offset), buffer.count - offset)
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EAGAIN {
          var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&entry, 1, 1_000)
          continue
        }
        return errno
      }
      offset += count
    }
    return nil
  }
}
