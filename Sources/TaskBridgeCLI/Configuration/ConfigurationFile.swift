import TaskBridgeCore
import TaskBridgeEngine
import Yams

/// Reads `taskbridge.yaml`. Unknown keys, repeated keys and wrong types are refused with line and column.
struct ConfigurationFile {
  /// A configuration is small; a larger file is a mistake.
  static let bytesMax = 1 << 20

  /// What the file is called in messages.
  let name: String
  private(set) var faults: [ConfigurationFault] = []
  /// Lines of the keys that were set, by key (`tasks.<key>.<name>` for those of a task).
  private(set) var lines: [String: Int] = [:]

  init(name: String) { self.name = name }

  /// Puts what the file says into `configuration`; what is wrong goes into `faults`.
  mutating func read(_ text: String, into configuration: inout TaskBridgeConfiguration) {
    let root: Node?
    do {
      root = try Parser(yaml: text).singleRoot()
    } catch {
      return faults.append(YAMLFault.describe(error, in: text, file: name))
    }
    guard let root, !isNull(root) else { return }
    guard let mapping = root.mapping else {
      return refuse(root, "expected a mapping of keys to values")
    }
    let settings = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.key, $0) })
    for (keyNode, value) in mapping {
      guard let key = keyNode.scalar?.string else {
        refuse(keyNode, "a key must be a text")
        continue
      }
      if let setting = settings[key] {
        guard let read = read(value, for: setting) else { continue }
        if let reason = setting.store(&configuration, read) { refuse(value, "\(key): \(reason)") }
        note(key, keyNode)
      } else if key == "retry" {
        configuration.retry = readRetry(value, key, configuration.retry)
        note(key, keyNode)
      } else if key == "tasks" {
        readTasks(value, into: &configuration)
      } else if key == "adopt_broker" || key == "accept_rollback" {
        refuse(
          keyNode,
          "\(key) is a decision for one start, not for every one: use the flag "
            + "--\(key == "adopt_broker" ? "adopt-broker" : "accept-rollback")"
        )
      } else {
        refuse(keyNode, UnknownKey.text(key, among: settings.keys.sorted() + ["retry", "tasks"]))
      }
    }
  }

  // MARK: Tasks

  private mutating func readTasks(_ node: Node, into configuration: inout TaskBridgeConfiguration) {
    guard !isNull(node) else { return }
    guard let mapping = node.mapping else { return refuse(node, "tasks: expected a mapping of task keys to settings") }
    for (keyNode, value) in mapping {
      guard let text = keyNode.scalar?.string, let task = TaskKey(text) else {
        refuse(
          keyNode,
          "'\(Escaping.visible((keyNode.scalar?.string ?? "").prefix(130)))' is no task key: 1 to 120 "
            + "characters that match \(TaskKey.grammar)"
        )
        continue
      }
      configuration.tasks[task] = readTask(value, text)
      note("tasks.\(text)", keyNode)
    }
  }

  private static let taskKeys = [
    "aging", "concurrency_limit", "disabled", "lease_seconds", "max_attempts", "max_lost", "order",
    "payload_limit_bytes",
    "queue_bound", "queue_type", "rate_burst", "rate_per_second", "resource_limits", "retry", "wire",
  ]

  private mutating func readTask(_ node: Node, _ task: String) -> TaskSettings {
    var settings = TaskSettings()
    guard !isNull(node) else { return settings }
    guard let mapping = node.mapping else {
      refuse(node, "tasks.\(task): expected a mapping of settings")
      return settings
    }
    for (keyNode, value) in mapping {
      let key = keyNode.scalar?.string ?? ""
      let path = "tasks.\(task).\(key)"
      note(path, keyNode)
      switch key {
      case "queue_bound": settings.queueBound = readInteger(value, path, 1...100_000)
      case "concurrency_limit":
        settings.concurrencyLimit = readInteger(value, path, TaskOverrides.concurrencyRange)
      case "rate_per_second": settings.ratePerSecond = readNumber(value, path, TaskOverrides.rateRange)
      case "rate_burst": settings.rateBurst = readInteger(value, path, TaskOverrides.burstRange)
      case "order":
        settings.order = readChoice(value, path, ReleaseOrder.allCases.map(\.rawValue)).flatMap(ReleaseOrder.init)
      case "aging": settings.aging = readAging(value, path)
      case "lease_seconds": settings.leaseSeconds = readInteger(value, path, 1...86_400)
      case "max_attempts": settings.maxAttempts = readInteger(value, path, 1...1_000)
      case "max_lost": settings.maxLost = readInteger(value, path, 0...1_000)
      case "payload_limit_bytes": settings.payloadLimitBytes = readInteger(value, path, 1...16_777_216)
      case "retry": settings.retry = readRetry(value, path, RetryPolicy())
      case "wire": settings.wire = readChoice(value, path, Wire.allCases.map(\.rawValue)).flatMap(Wire.init) ?? .raw
      case "queue_type":
        settings.queueType = readChoice(value, path, QueueType.allCases.map(\.rawValue)).flatMap(QueueType.init)
      case "resource_limits": settings.resourceLimits = readNumbers(value, path)
      case "disabled": settings.disabled = readBoolean(value, path) ?? false
      default: refuse(keyNode, "tasks.\(task): " + UnknownKey.text(key, among: Self.taskKeys))
      }
    }
    return settings
  }

  private static let retryKeys = [
    "strategy", "initial_seconds", "increment_seconds", "multiplier", "max_seconds", "delays_seconds",
  ]
  /// A year: longer delays are mistakes of unit.
  private static let delaySeconds = 0.0...31_536_000.0

  private mutating func readRetry(_ node: Node, _ path: String, _ standard: RetryPolicy) -> RetryPolicy {
    var policy = standard
    guard let mapping = node.mapping else {
      refuse(node, "\(path): expected a mapping with \(Self.retryKeys.joined(separator: ", "))")
      return policy
    }
    for (keyNode, value) in mapping {
      let key = keyNode.scalar?.string ?? ""
      let name = "\(path).\(key)"
      switch key {
      case "strategy":
        let names = RetryPolicy.Strategy.allCases.map(\.rawValue)
        policy.strategy = readChoice(value, name, names).flatMap(RetryPolicy.Strategy.init) ?? policy.strategy
      case "initial_seconds":
        policy.initialSeconds = readNumber(value, name, Self.delaySeconds) ?? policy.initialSeconds
      case "increment_seconds":
        policy.incrementSeconds = readNumber(value, name, Self.delaySeconds) ?? policy.incrementSeconds
      case "multiplier": policy.multiplier = readNumber(value, name, 1...1_000) ?? policy.multiplier
      case "max_seconds": policy.maxSeconds = readNumber(value, name, Self.delaySeconds) ?? policy.maxSeconds
      case "delays_seconds": policy.delaysSeconds = readDelays(value, name)
      default: refuse(keyNode, "\(path): " + UnknownKey.text(key, among: Self.retryKeys))
      }
    }
    return policy
  }

  private mutating func readAging(_ node: Node, _ path: String) -> Aging? {
    if isNull(node) { return nil }
    var aging = Aging()
    guard let mapping = node.mapping else {
      refuse(node, "\(path): expected a mapping with \(Aging.names.joined(separator: ", "))")
      return nil
    }
    for (keyNode, value) in mapping {
      let key = keyNode.scalar?.string ?? ""
      let name = "\(path).\(key)"
      switch key {
      case "grace_seconds":
        aging.graceSeconds = readInteger(value, name, Aging.graceRange) ?? aging.graceSeconds
      case "interval_seconds":
        aging.intervalSeconds = readInteger(value, name, Aging.intervalRange) ?? aging.intervalSeconds
      case "ceiling": aging.ceiling = readInteger(value, name, Aging.ceilingRange) ?? aging.ceiling
      default: refuse(keyNode, "\(path): " + UnknownKey.text(key, among: Aging.names))
      }
    }
    return aging
  }

  private mutating func readDelays(_ node: Node, _ path: String) -> [Double]? {
    guard !isNull(node) else { return nil }
    guard let sequence = node.sequence, (1...100).contains(sequence.count) else {
      refuse(node, "\(path): expected a list of 1...100 numbers")
      return nil
    }
    return sequence.compactMap { readNumber($0, path, Self.delaySeconds) }
  }

  // MARK: Values

  private mutating func read(_ node: Node, for setting: Setting) -> Setting.Value? {
    let value: Setting.Value?
    switch setting.kind {
    case .text, .choice: value = readText(node, setting.key).map { .text($0) }
    case .integer(let range): value = readInteger(node, setting.key, range).map { .integer($0) }
    case .boolean: value = readBoolean(node, setting.key).map { .boolean($0) }
    }
    guard let value else { return nil }
    switch setting.check(value) {
    case .success(let value): return value
    case .failure(let unfit):
      refuse(node, "\(setting.key): \(unfit.reason)")
      return nil
    }
  }

  private mutating func readText(_ node: Node, _ path: String) -> String? {
    guard let scalar = node.scalar else {
      refuse(node, "\(path): expected a text")
      return nil
    }
    // Plain `no`, `012` or `null` mean other things in YAML than they look like; quoting says which was meant.
    if scalar.style == .plain,
      ["null", "~", "", "true", "false", "yes", "no", "on", "off"].contains(scalar.string.lowercased())
        || Double(scalar.string) != nil
    {
      refuse(node, "\(path): expected a text; put it in quotes if that is what is meant")
      return nil
    }
    return scalar.string
  }

  private mutating func readChoice(_ node: Node, _ path: String, _ choices: [String]) -> String? {
    guard let text = readText(node, path) else { return nil }
    guard choices.contains(text) else {
      refuse(
        node,
        "\(path): '\(Escaping.visible(text.prefix(80)))' is not known: expected one of "
          + "\(choices.joined(separator: ", "))"
      )
      return nil
    }
    return text
  }

  private mutating func readInteger(_ node: Node, _ path: String, _ range: ClosedRange<Int>) -> Int? {
    let expected = "expected a whole number \(range.lowerBound)...\(range.upperBound)"
    guard let text = plain(node), let number = Int(text.replacing("_", with: "")), !hasLeadingZero(text) else {
      refuse(node, "\(path): \(expected)")
      return nil
    }
    guard range.contains(number) else {
      refuse(node, "\(path): \(number) is out of range: \(expected)")
      return nil
    }
    return number
  }

  private mutating func readNumber(_ node: Node, _ path: String, _ range: ClosedRange<Double>) -> Double? {
    let expected = "expected a number \(JSONText.number(range.lowerBound))...\(JSONText.number(range.upperBound))"
    guard let text = plain(node), let number = Double(text), number.isFinite, !hasLeadingZero(text) else {
      refuse(node, "\(path): \(expected)")
      return nil
    }
    guard range.contains(number) else {
      refuse(node, "\(path): \(JSONText.number(number)) is out of range: \(expected)")
      return nil
    }
    return number
  }

  private mutating func readBoolean(_ node: Node, _ path: String) -> Bool? {
    switch plain(node) {
    case "true": return true
    case "false": return false
    default:
      refuse(node, "\(path): expected true or false")
      return nil
    }
  }

  private mutating func readNumbers(_ node: Node, _ path: String) -> [String: Double] {
    guard let mapping = node.mapping else {
      refuse(node, "\(path): expected a mapping of names to numbers")
      return [:]
    }
    var result: [String: Double] = [:]
    for (keyNode, value) in mapping {
      guard let name = keyNode.scalar?.string, !name.isEmpty else {
        refuse(keyNode, "\(path): a name must be a text")
        continue
      }
      result[name] = readNumber(value, "\(path).\(Escaping.visible(name.prefix(80)))", 0...1e15)
    }
    return result
  }

  private func plain(_ node: Node) -> String? {
    guard let scalar = node.scalar, scalar.style == .plain else { return nil }
    return scalar.string
  }

  /// `012` is ten in YAML 1.1 and twelve in 1.2.
  private func hasLeadingZero(_ text: String) -> Bool {
    let digits = text.drop { $0 == "-" || $0 == "+" }
    return digits.count > 1 && digits.first == "0" && digits.dropFirst().first != "."
  }

  private func isNull(_ node: Node) -> Bool {
    plain(node).map { ["", "~", "null"].contains($0.lowercased()) } ?? false
  }

  // MARK: Places

  private mutating func note(_ key: String, _ node: Node) { lines[key] = node.mark?.line ?? 0 }

  private mutating func refuse(_ node: Node, _ message: String) {
    faults.append(ConfigurationFault(place: "\(name):\(node.mark?.description ?? "1:1")", message: message))
  }
}
