import Glibc
import Synchronization
import Testing

@testable import AMQPClient

/// Certificates and a TLS server by the `openssl` program, in a folder that is removed afterwards.
final class TLSWorkshop: Sendable {
  struct Failure: Error, CustomStringConvertible { let description: String }

  let folder: String

  /// An authority, a server certificate for `localhost`, one for another host, and a client certificate whose key exists
  /// plain and encrypted (passphrase `s3cret`).
  static func with<Result>(_ body: (TLSWorkshop) async throws -> Result) async throws -> Result {
    var template = Array("/tmp/amqp-tls-XXXXXX".utf8CString)
    guard let path = mkdtemp(&template) else {
      throw Failure(description: "no folder: \(String(cString: strerror(errno)))")
    }
    let workshop = TLSWorkshop(folder: String(cString: path))
    do {
      try await workshop.makeCertificates()
      let result = try await body(workshop)
      try await workshop.remove()
      return result
    } catch {
      try await workshop.remove()
      throw error
    }
  }

  private init(folder: String) { self.folder = folder }

  func file(_ name: String) -> String { "\(folder)/\(name)" }

  private func makeCertificates() async throws {
    try await shell(
      """
      set -e; cd \(folder)
      new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3"
      openssl req -x509 $new -keyout ca.key -out ca.pem -subj /CN=authority
      openssl req -x509 $new -keyout other-ca.key -out other-ca.pem -subj /CN=other
      make() {
        openssl req -new $new -keyout $1.key -out $1.csr -subj /CN=$2 -addext subjectAltName=DNS:$2
        openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3 -copy_extensions copy -out $1.pem
      }
      make server localhost; make wrong other.example; make client client
      openssl pkcs8 -topk8 -in client.key -out client.encrypted.key -passout pass:s3cret
      """)
  }

  private func remove() async throws { try await shell("rm -rf \(folder)") }

  private func shell(_ text: String) async throws {
    let done = Promise<Int32>()
    let process = try spawn(["/bin/sh", "-c", text], input: nil)
    try AMQPThread.start(name: "wait", stackBytes: 1 << 20) {
      var status: Int32 = 0
      waitpid(process, &status, 0)
      done.fulfil(status)
    }
    guard try await within(.seconds(60), "the end of a shell script", { await done.value() }) == 0 else {
      throw Failure(description: "a script failed: \(text)")
    }
  }

  private func spawn(_ arguments: [String], input: Int32?) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    if let input {
      posix_spawn_file_actions_adddup2(&actions, input, 0)
      posix_spawn_file_actions_adddup2(&actions, input, 1)
    } else {
      posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
      posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    }
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    let copies = arguments.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    var process: pid_t = 0
    let status = posix_spawnp(&process, arguments[0], &actions, nil, copies + [nil], environ)
    guard status == 0 else {
      throw Failure(description: "\(arguments[0]) cannot be run: \(String(cString: strerror(status)))")
    }
    return process
  }

  /// Runs `script` behind a TLS server and lends a configuration that leads there.
  func withServer(
    certificate: String = "server", options: [String] = [],
    script: @escaping @Sendable (FakeSession) throws -> Void = {
      try $0.handshake(); try $0.endOrderly()
    },
    _ body: (AMQPConfiguration) async throws -> Void
  ) async throws {
    var ends: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0 else { throw Failure(description: "no pipe") }
    // The server must see the end when we close ours, so it must not inherit our end.
    _ = fcntl(ends[0], F_SETFD, FD_CLOEXEC)
    let port = try freePort()
    let process = try spawn(
      [
        "openssl", "s_server", "-quiet", "-accept", "127.0.0.1:\(port)", "-cert", file("\(certificate).pem"), "-key",
        file("\(certificate).key"),
      ] + options, input: ends[1])
    close(ends[1])
    let session = FakeSession(ends[0])
    try AMQPThread.start(name: "tls-peer", stackBytes: 1 << 20) {
      // A test that is about a failed handshake has no conversation; the others notice a failed one.
      do { try script(session) } catch { session.close() }
    }
    defer {
      // It inherited the mask of a thread of the pool, which keeps other signals out.
      kill(process, SIGKILL)
      var status: Int32 = 0
      waitpid(process, &status, 0)
      session.close()
    }
    try await body(try configuration(port))
  }

  private func configuration(_ port: Int) throws -> AMQPConfiguration {
    var configuration = try AMQPConfiguration(url: "amqps://u:p@localhost:\(port)?cacertfile=\(file("ca.pem"))")
    configuration.timeouts.farewell = .milliseconds(500)
    return configuration
  }

  private func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let found = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        bind(descriptor, address, length) == 0 && getsockname(descriptor, address, &length) == 0
      }
    }
    guard found else { throw Failure(description: "no free port") }
    return Int(UInt16(bigEndian: address.sin_port))
  }

  /// Opens a connection; until the server listens it is tried again.
  static func open(_ configuration: AMQPConfiguration) async throws -> AMQPConnection {
    try await within(.seconds(20), "the TLS server") {
      while true {
        do throws(AMQPError) {
          return try await AMQPConnection.open(configuration, logger: Broker.logger)
        } catch {
          guard error.kind == .connectFailed else { throw error }
          await Task.yield()
        }
      }
    }
  }
}
