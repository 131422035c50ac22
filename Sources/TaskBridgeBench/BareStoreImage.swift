/// A table that holds rows of runs.
struct BareStoreTable: Hashable {
  let name: String
  let columns: [String]
  /// Columns of the primary key.
  let key: [String]
  /// The column that holds the run's number.
  let owner: String
  /// A column that SQLite numbers by itself.
  let numbered: String?

  /// Every table of the store with rows that belong to a run.
  static func all(in database: BareStoreDatabase) throws -> [BareStoreTable] {
    var tables: [BareStoreTable] = []
    let names = try database.rows(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid")
    for case .text(let name) in names.lazy.compactMap(\.first) {
      var columns: [String] = []
      var key: [String] = []
      var integers: Set<String> = []
      for row in try database.rows("SELECT name, pk, upper(type) FROM pragma_table_info(?)", [.text(name)]) {
        guard case .text(let column) = row[0] else { continue }
        columns.append(column)
        if row[1] != .integer(0) { key.append(column) }
        if row[2] == .text("INTEGER") { integers.insert(column) }
      }
      let owner = name == "runs" ? "seq" : "run_seq"
      guard columns.contains(owner) else { continue }
      let numbered = key.count == 1 && key[0] != owner && integers.contains(key[0]) ? key[0] : nil
      tables.append(BareStoreTable(name: name, columns: columns, key: key, owner: owner, numbered: numbered))
    }
    return tables
  }
}

/// One stored row.
struct BareStoreRow {
  let table: BareStoreTable
  let values: [String: BareStoreValue]

  subscript(_ column: String) -> BareStoreValue { values[column] ?? .null }

  /// The same row before and after a step has the same key.
  var key: [BareStoreValue] { [.text(table.name)] + table.key.map { self[$0] } }
}

/// All rows of one run and the counters, as they are at one moment: two of them tell what a step wrote.
struct BareStoreImage {
  let sequence: Int64
  /// 16 bytes.
  let id: BareStoreValue
  let rows: [BareStoreRow]
  /// Runs by task key and state.
  let counts: [[BareStoreValue]: Int64]

  /// - Throws: when there is no such run.
  init(ofRun sequence: Int64, in database: BareStoreDatabase) throws {
    var rows: [BareStoreRow] = []
    for table in try BareStoreTable.all(in: database) {
      let columns = table.columns.joined(separator: ", ")
      for values in try database.rows(
        "SELECT \(columns) FROM \(table.name) WHERE \(table.owner) = ? ORDER BY \(table.key.joined(separator: ", "))",
        [.integer(sequence)])
      {
        rows.append(
          BareStoreRow(table: table, values: Dictionary(uniqueKeysWithValues: zip(table.columns, values))))
      }
    }
    guard let id = rows.first(where: { $0.table.name == "runs" })?["id"] else {
      throw BenchError("the store has no run number \(sequence)")
    }
    var counts: [[BareStoreValue]: Int64] = [:]
    for row in try database.rows("SELECT task, state, runs FROM counts") {
      if case .integer(let runs) = row[2] { counts[[row[0], row[1]]] = runs }
    }
    self.sequence = sequence
    self.id = id
    self.rows = rows
    self.counts = counts
  }
}
