import AMQPClient
import Foundation
import TaskBridgeEngine

/// What holds between settings and the files they name.
enum ConfigurationRules {
  static func check(_ effective: ConfigurationLoader.Effective, _ faults: inout [ConfigurationFault]) {
    let configuration = effective.configuration
    func fault(_ key: String, _ message: String) {
      let place = effective.origins[key].map { origin -> String in
        if case .file(let line) = origin { return "\(effective.file ?? "file"):\(line):1" }
        return origin.description
      }
      faults.append(ConfigurationFault(place: place ?? key, message: message))
    }

    let files = [
      ("amqp_password_file", configuration.amqpPasswordFile), ("amqp_ca_file", configuration.amqpCAFile),
      ("amqp_certificate_file", configuration.amqpCertificateFile), ("amqp_key_file", configuration.amqpKeyFile),
    ]
    for (key, path) in files {
      if let path, access(path, R_OK) != 0 {
        fault(key, "\(key): cannot read '\(Escaping.visible(path))': \(String(cString: strerror(errno)))")
      }
    }
    if (configuration.amqpCertificateFile == nil) != (configuration.amqpKeyFile == nil) {
      fault(
        configuration.amqpKeyFile == nil ? "amqp_certificate_file" : "amqp_key_file",
        "amqp_certificate_file and amqp_key_file go together: one of them is missing")
    }
    if let path = configuration.amqpKeyFile, isEncryptedKey(path) {
      fault(
        "amqp_key_file",
        "amqp_key_file: '\(Escaping.visible(path))' is encrypted: store the key without a passphrase, mode 0600")
    }
    if !configuration.amqpURL.hasPrefix("amqps://"), configuration.amqpCAFile != nil || configuration.amqpKeyFile != nil
    {
      fault(configuration.amqpCAFile != nil ? "amqp_ca_file" : "amqp_key_file", "TLS files need an amqps:// URL")
    }
    if configuration.strictTasks, configuration.tasks.isEmpty {
      fault("strict_tasks", "strict_tasks: no task key is configured, so every submission would be refused")
    }
  }

  static func warnings(_ effective: ConfigurationLoader.Effective) -> [String] {
    let configuration = effective.configuration
    var warnings: [String] = []
    for (key, path) in [
      ("amqp_password_file", configuration.amqpPasswordFile), ("amqp_key_file", configuration.amqpKeyFile),
    ] {
      if let path, let mode = FileMode.of(path), mode & 0o077 != 0 {
        warnings.append(
          "\(key): '\(Escaping.visible(path))' can be read by others (mode \(FileMode.text(mode))): chmod 600 it")
      }
    }
    do throws(AMQPError) {
      let broker = try AMQPConfiguration(url: configuration.amqpURL)
      // The broker's own first password is no secret.
      if broker.password != "guest", let path = effective.file, case .file? = effective.origins["amqp_url"],
        let mode = FileMode.of(path), mode & 0o077 != 0
      {
        warnings.append(
          "'\(Escaping.visible(path))' has a password in amqp_url and can be read by others (mode "
            + "\(FileMode.text(mode))): chmod 600 it or use amqp_password_file"
        )
      }
      if broker.tls == nil, !broker.isLoopback {
        warnings.append("the connection to \(broker.redacted) is not encrypted: use amqps://")
      }
      if let tls = broker.tls, !tls.verifyPeer {
        warnings.append("verify=verify_none: anybody on the way can pass for the broker")
      }
    } catch {
      warnings.append(error.text)
    }
    return warnings
  }

  private static func isEncryptedKey(_ path: String) -> Bool {
    do {
      let bytes = try FileReading.bytes(ofFile: path, atMost: 1 << 20)
      let text = String(decoding: bytes, as: UTF8.self)
      return text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
    } catch {
      // That it cannot be read is a fault of its own.
      return false
    }
  }
}

/// Permissions of files.
enum FileMode {
  /// The permission bits, or nil when there is no such file.
  static func of(_ path: String) -> mode_t? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return info.st_mode & 0o7777
  }

  static func text(_ mode: mode_t) -> String {
    let digits = String(mode, radix: 8)
    return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }
}
