/// A plain table: a header, then one line per row. Cells are escaped; only flexible columns are shortened, and only on
/// a terminal.
struct Table: Sendable {
  struct Column: Sendable {
    var title: String
    /// May be shortened to fit the terminal; ids never are.
    var isFlexible = false
    var isState = false
  }

  /// Shortest width a flexible column is cut down to.
  static let flexibleWidthMin = 12

  var columns: [Column]
  var rows: [[String]] = []

  /// `"ID"`, `"NAME~"` (flexible), `"STATE!"` (painted by state).
  init(_ titles: String...) {
    columns = titles.map { title in
      if title.hasSuffix("~") { return Column(title: String(title.dropLast()), isFlexible: true) }
      if title.hasSuffix("!") { return Column(title: String(title.dropLast()), isState: true) }
      return Column(title: title)
    }
  }

  mutating func add(_ cells: String?...) {
    rows.append(cells.map { $0.flatMap { $0.isEmpty ? nil : $0 } ?? "-" })
  }

  func rendered(for terminal: Terminal) -> String {
    let cells = rows.map { $0.map { Escaping.visible($0) } }
    var widths = columns.map(\.title.count)
    for row in cells {
      for (index, cell) in row.enumerated() { widths[index] = max(widths[index], cell.count) }
    }
    if let columnsOfTerminal = terminal.columns { shrink(&widths, to: columnsOfTerminal) }

    var text = line(columns.map(\.title), widths: widths) { terminal.paint($0, .bold) }
    for (row, original) in zip(cells, rows) {
      text += line(row, widths: widths, original: original, terminal: terminal)
    }
    return text
  }

  private func shrink(_ widths: inout [Int], to total: Int) {
    var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - total
    for index in columns.indices.reversed() where columns[index].isFlexible && excess > 0 {
      let cut = min(excess, max(0, widths[index] - Self.flexibleWidthMin))
      widths[index] -= cut
      excess -= cut
    }
  }

  private func line(_ cells: [String], widths: [Int], paint: (String) -> String) -> String {
    cells.enumerated().map { index, cell in
      let isLast = index == cells.count - 1
      return paint(cell) + (isLast ? "" : String(repeating: " ", count: max(0, widths[index] - cell.count) + 2))
    }.joined() + "\n"
  }

  private func line(_ cells: [String], widths: [Int], original: [String], terminal: Terminal) -> String {
    var index = -1
    let fitted = cells.enumerated().map { index, cell in
      columns[index].isFlexible && cell.count > widths[index] ? cell.prefix(widths[index] - 1) + "…" : cell
    }
    return line(fitted.map { String($0) }, widths: widths) { cell in
      index += 1
      return columns[index].isState ? terminal.paint(cell, Terminal.color(ofState: original[index])) : cell
    }
  }
}

/// Name and value, one per line: how a single thing is shown.
struct Properties: Sendable {
  private var items: [(name: String, value: String, isState: Bool)] = []

  /// Adds a line; an absent value adds none.
  mutating func add(_ name: String, _ value: String?, isState: Bool = false) {
    guard let value, !value.isEmpty else { return }
    items.append((name, value, isState))
  }

  func rendered(for terminal: Terminal) -> String {
    let width = (items.map(\.name.count).max() ?? 0) + 2
    return items.map { item in
      let value = Escaping.visible(item.value)
      let painted = item.isState ? terminal.paint(value, Terminal.color(ofState: item.value)) : value
      return terminal.paint(item.name, .bold) + String(repeating: " ", count: width - item.name.count) + painted + "\n"
    }.joined()
  }
}
