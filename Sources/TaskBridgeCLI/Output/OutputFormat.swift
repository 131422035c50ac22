import ArgumentParser

/// How data is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  /// For people.
  case table
  /// The server's answer, byte for byte.
  case json
  /// One item of a list per line.
  case jsonl
}

/// Prints answers in the format that was asked for.
struct Printer: Sendable {
  let format: OutputFormat
  let terminal: Terminal

  init(_ format: OutputFormat) {
    self.format = format
    terminal = format == .table ? .standardOutput() : .plain
  }

  /// One thing: its bytes, or what `properties` makes of it.
  func one(_ bytes: [UInt8], _ properties: (JSONSlice) -> Properties) {
    let value = JSONSlice(bytes)
    switch format {
    case .table: StandardOutput.write(properties(value).rendered(for: terminal))
    case .json: StandardOutput.writeLine(bytes)
    case .jsonl: StandardOutput.writeLine(value.line)
    }
  }

  /// One page of a list (`{"items":[…]}`): its bytes, its items, or the rows `fill` adds to the table.
  func page(_ bytes: [UInt8], _ empty: Table, fill: (inout Table, JSONSlice) -> Void) {
    if format == .json { return StandardOutput.writeLine(bytes) }
    items(JSONSlice(bytes)["items"]?.elements ?? [], empty, fill: fill)
  }

  /// Items of a list, as lines or as a table.
  func items(_ items: [JSONSlice], _ empty: Table, fill: (inout Table, JSONSlice) -> Void) {
    switch format {
    case .json, .jsonl:
      for item in items { StandardOutput.writeLine(item.line) }
    case .table:
      var table = empty
      for item in items { fill(&table, item) }
      StandardOutput.write(table.rendered(for: terminal))
    }
  }
}
