import Foundation
import Synchronization
import TaskBridgeCore

/// A row's result with what surrounds it, for programs and for people.
struct RowReport {
  private let result: RowResult
  private let durability: [String: String]
  private let scale: Double

  init(_ result: RowResult, bench: Bench) {
    self.result = result
    durability = bench.durability.withLock { $0 }
    scale = bench.options.scale
  }

  /// One JSON object: name, figures, ratios with targets, date, machine, durability settings that were read back.
  var jsonLine: String {
    var json = JSONWriter()
    json.object { json in
      json.member("name", result.name)
      json.member("at", Date().ISO8601Format())
      json.key("figures")
      json.array { json in
        for figure in result.figures {
          json.object { json in
            json.member("name", figure.name)
            json.member("value", rounded(figure.value))
            json.member("unit", figure.unit)
          }
        }
      }
      json.key("ratios")
      json.array { json in
        for ratio in result.ratios {
          json.object { json in
            json.member("name", ratio.name)
            json.member("value", rounded(ratio.value))
            json.member("target", ratio.target)
            json.member("at_most", ratio.isUpperBound)
            json.member("met", ratio.isMet)
          }
        }
      }
      json.member("note", result.note)
      json.member("scale", scale)
      json.member("machine", Machine.facts)
      json.member("durability", durability)
    }
    return String(decoding: json.bytes, as: UTF8.self)
  }

  var table: String {
    var lines: [String] = [result.name]
    for ratio in result.ratios {
      let sign = ratio.isUpperBound ? "≤" : "≥"
      lines.append(
        "  \(pad(ratio.name)) \(pad(text(ratio.value), right: true))  \(sign) \(text(ratio.target))"
          + (ratio.isMet ? "" : "  FALLS SHORT"))
    }
    for figure in result.figures {
      lines.append("  \(pad(figure.name)) \(pad(text(figure.value), right: true)) \(figure.unit)")
    }
    if let note = result.note { lines.append("  \(note)") }
    return lines.joined(separator: "\n")
  }

  private func pad(_ text: String, right: Bool = false) -> String {
    let width = right ? 12 : 34
    let blanks = String(repeating: " ", count: max(0, width - text.count))
    return right ? blanks + text : text + blanks
  }

  private func text(_ value: Double) -> String {
    let value = rounded(value)
    return value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
  }

  /// Four significant digits say more than such a measurement knows; whole numbers stay whole.
  private func rounded(_ value: Double) -> Double {
    guard value.isFinite, value != value.rounded() else { return value }
    let digits = 4 - Int(log10(abs(value)).rounded(.up))
    let factor = pow(10, Double(max(0, digits)))
    return (value * factor).rounded() / factor
  }
}

/// The machine, as far as a reader of the table wants to know.
enum Machine {
  static var facts: [String: String] {
    let processor = ProcessFigures.text("/proc/cpuinfo")?.split(separator: "\n")
      .first { $0.hasPrefix("model name") }?.split(separator: ":").last
    var name = utsname()
    uname(&name)
    let release = withUnsafeBytes(of: &name.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return [
      "cores": String(ProcessInfo.processInfo.activeProcessorCount),
      "cpu": processor.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown",
      "memory_mib": String(ProcessInfo.processInfo.physicalMemory >> 20),
      "kernel": release,
    ]
  }
}
