/// The statements that do to any run what a step of the store did to one: the same rows and columns, no reads, no
/// logic.
///
/// It is made from what the store itself wrote, so that it follows the schema by itself.
final class BareStorePlan {
  private enum Slot {
    case sequence
    case runID
    case constant(BareStoreLent)
  }

  private struct Write {
    let statement: BareStoreStatement
    let slots: [Slot]
  }

  private var writes: [Write] = []
  private var counts: [(statement: BareStoreStatement, delta: Int64)] = []
  private let database: BareStoreDatabase
  private let sequence: Int64
  private let runID: BareStoreValue

  /// Rows written for each run, the counters left out.
  var rowsPerRun: Int { writes.count }

  /// - Parameters:
  ///   - before: nil: everything is inserted.
  ///   - after: the same run after the step.
  init(
    from before: BareStoreImage?, to after: BareStoreImage, in database: BareStoreDatabase
  ) throws {
    self.database = database
    sequence = after.sequence
    runID = after.id
    var old: [[BareStoreValue]: BareStoreRow] = [:]
    for row in before?.rows ?? [] { old[row.key] = row }
    for row in after.rows {
      if let was = old.removeValue(forKey: row.key) { try update(was, to: row) } else { try insert(row) }
    }
    for row in old.values.sorted(by: { $0.table.name < $1.table.name }) { try delete(row) }
    for (key, runs) in after.counts {
      let delta = runs - (before?.counts[key] ?? 0)
      guard delta != 0 else { continue }
      let statement = try database.prepare(
        "INSERT INTO counts (task, state, runs) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET runs = runs + ?3")
      statement.bind(key[0], at: 1)
      statement.bind(key[1], at: 2)
      counts.append((statement, before == nil ? 1 : delta))
    }
  }

  /// Writes the rows of run number `sequence`.
  ///
  /// - Parameter id: its id, 16 bytes; only inserts need one.
  func write(sequence: Int64, id: UnsafeRawBufferPointer) throws {
    for write in writes {
      var index: Int32 = 0
      for slot in write.slots {
        index += 1
        switch slot {
        case .sequence: write.statement.bind(sequence, at: index)
        case .runID: write.statement.bind(lent: id, isText: false, at: index)
        case .constant(let value): value.bind(to: write.statement, at: index)
        }
      }
      try write.statement.run()
    }
  }

  /// Writes the counters for `runs` runs, as the store does once a transaction.
  func writeCounts(runs: Int64) throws {
    for (statement, delta) in counts {
      statement.bind(delta * runs, at: 3)
      try statement.run()
    }
  }

  // MARK: Making the statements

  private func insert(_ row: BareStoreRow) throws {
    let columns = row.table.columns.filter { $0 != row.table.numbered && row[$0] != .null }
    let places = columns.map { _ in "?" }.joined(separator: ", ")
    try add(
      "INSERT INTO \(row.table.name) (\(columns.joined(separator: ", "))) VALUES (\(places))",
      columns.map { slot(of: row, $0) })
  }

  private func update(_ was: BareStoreRow, to row: BareStoreRow) throws {
    let columns = row.table.columns.filter { row[$0] != was[$0] }
    guard !columns.isEmpty else { return }
    let place = place(of: row)
    try add(
      "UPDATE \(row.table.name) SET \(columns.map { "\($0) = ?" }.joined(separator: ", ")) WHERE \(place.sql)",
      columns.map { slot(of: row, $0) } + place.slots)
  }

  private func delete(_ row: BareStoreRow) throws {
    let place = place(of: row)
    try add("DELETE FROM \(row.table.name) WHERE \(place.sql)", place.slots)
  }

  /// What finds the row: its key, or the run when SQLite numbered it.
  private func place(of row: BareStoreRow) -> (sql: String, slots: [Slot]) {
    let columns = row.table.numbered == nil ? row.table.key : [row.table.owner]
    return (columns.map { "\($0) = ?" }.joined(separator: " AND "), columns.map { slot(of: row, $0) })
  }

  private func slot(of row: BareStoreRow, _ column: String) -> Slot {
    if column == row.table.owner { return .sequence }
    return row[column] == runID ? .runID : .constant(BareStoreLent(row[column]))
  }

  private func add(_ sql: String, _ slots: [Slot]) throws {
    writes.append(Write(statement: try database.prepare(sql), slots: slots))
  }
}

/// A value in memory that does not move, so that SQLite need not copy it.
final class BareStoreLent {
  private let value: BareStoreValue
  private let memory: UnsafeMutableRawBufferPointer

  init(_ value: BareStoreValue) {
    self.value = value
    let bytes: [UInt8] =
      switch value {
      case .text(let text): Array(text.utf8)
      case .blob(let bytes): bytes
      case .null, .integer, .real: []
      }
    // One byte at least: an empty buffer may have no address, which SQLite would take for NULL.
    memory = .allocate(byteCount: max(1, bytes.count), alignment: 8)
    memory.copyBytes(from: bytes)
    count = bytes.count
  }

  private let count: Int

  deinit { memory.deallocate() }

  func bind(to statement: BareStoreStatement, at index: Int32) {
    switch value {
    case .null, .integer, .real: statement.bind(value, at: index)
    case .text: statement.bind(lent: UnsafeRawBufferPointer(memory)[..<count].rebased, isText: true, at: index)
    case .blob: statement.bind(lent: UnsafeRawBufferPointer(memory)[..<count].rebased, isText: false, at: index)
    }
  }
}

extension Slice<UnsafeRawBufferPointer> {
  fileprivate var rebased: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: self) }
}
