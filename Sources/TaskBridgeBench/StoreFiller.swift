import Foundation
import GRDBSQLite

/// Fills a store with runs that are copies of one the store made itself, in every table, index and counter.
///
/// A million finished runs take about ten seconds and 1.1 GB. While it fills, nothing is durable; afterwards the file
/// is on disk and in WAL mode as before.
enum StoreFiller {
  /// Runs in one transaction.
  static let sliceRuns = 100_000

  /// Adds `count` runs like a new sample of `kind`.
  ///
  /// - Parameters:
  ///   - tasks: spread over so many task keys, named as the sample's with a number behind; 1: the sample's alone.
  ///   - folder: of the store, which no bridge may have open; made when it is missing.
  /// - Throws: `BenchError`.
  static func fill(
    _ count: Int, as kind: StoreSample.Kind, payloadBytes: Int = 256, tasks: Int = 1, folder: String
  ) async throws {
    guard count > 0 else { return }
    let sample = try await StoreSample.make(kind, payloadBytes: payloadBytes, folder: folder)
    // One of them is the sample itself.
    try clone(image(of: sample, folder: folder), count: count - 1, tasks: tasks, folder: folder)
  }

  private static func image(of sample: StoreSample, folder: String) throws -> BareStoreImage {
    try BareStoreImage(ofRun: sample.sequence, in: BareStoreDatabase(path: StoreSample.path(in: folder)))
  }

  /// Adds `count` copies of the run of `image`, numbered from the store's highest number on.
  static func clone(_ image: BareStoreImage, count: Int, tasks: Int = 1, folder: String) throws {
    guard count > 0 else { return }
    let path = StoreSample.path(in: folder)
    do {
      let database = try BareStoreDatabase(path: path)
      try database.execute(
        """
        PRAGMA locking_mode = EXCLUSIVE;
        PRAGMA journal_mode = OFF;
        PRAGMA synchronous = OFF;
        PRAGMA foreign_keys = OFF;
        PRAGMA ignore_check_constraints = ON;
        PRAGMA temp_store = MEMORY;
        PRAGMA cache_size = -262144;
        """)
      try register(StoreSample.Identifiers(after: image), in: database)
      let statements = try statements(image, tasks: tasks, in: database)
      let first = try database.integer("SELECT max(seq) FROM runs") + 1
      let end = first + Int64(count)
      for start in stride(from: first, to: end, by: sliceRuns) {
        try database.execute("BEGIN")
        for statement in statements {
          statement.bind(start, at: 1)
          statement.bind(min(start + Int64(sliceRuns), end) - 1, at: 2)
          try statement.run()
        }
        try database.execute("COMMIT")
      }
      try addCounts(image, from: first, to: end, tasks: tasks, in: database)
      // Closing checkpoints what the change itself wrote.
      guard try database.rows("PRAGMA journal_mode = WAL") == [[.text("wal")]] else {
        throw BenchError("\(path) does not go back to WAL")
      }
    }
    try flush(path)
  }

  /// One statement for each table: every number of a slice with every row of the sample.
  private static func statements(
    _ image: BareStoreImage, tasks: Int, in database: BareStoreDatabase
  ) throws -> [BareStoreStatement] {
    var statements: [BareStoreStatement] = []
    for table in try BareStoreTable.all(in: database) {
      let rows = image.rows.filter { $0.table == table }
      guard !rows.isEmpty else { continue }
      let sample = "sample_\(table.name)"
      let columns = table.columns.filter { $0 != table.numbered }
      try database.execute("CREATE TEMP TABLE \(sample) (\(columns.joined(separator: ", ")))")
      for row in rows {
        try database.execute(
          "INSERT INTO temp.\(sample) VALUES (\(columns.map { row[$0].literal }.joined(separator: ", ")))")
      }
      let values = columns.map { column -> String in
        if column == table.owner { return "numbers.number" }
        if rows.allSatisfy({ $0[column] == image.id }) { return "sample_id(numbers.number)" }
        if tasks > 1, rows.allSatisfy({ $0[column] == .text(StoreSample.task) }) {
          return "s.\(column) || '.' || (numbers.number % \(tasks))"
        }
        return "s.\(column)"
      }
      statements.append(
        try database.prepare(
          """
          INSERT INTO main.\(table.name) (\(columns.joined(separator: ", ")))
            WITH RECURSIVE numbers (number) AS
              (SELECT ?1 UNION ALL SELECT number + 1 FROM numbers WHERE number < ?2)
            SELECT \(values.joined(separator: ", ")) FROM numbers CROSS JOIN temp.\(sample) AS s
          """))
    }
    return statements
  }

  private static func addCounts(
    _ image: BareStoreImage, from first: Int64, to end: Int64, tasks: Int, in database: BareStoreDatabase
  ) throws {
    guard let run = image.rows.first(where: { $0.table.name == "runs" }), case .text(let task) = run["task"] else {
      throw BenchError("the sample has no task key")
    }
    let statement = try database.prepare(
      "INSERT INTO counts (task, state, runs) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET runs = runs + ?3")
    statement.bind(run["state"], at: 2)
    for number in 0..<Int64(tasks) {
      let below = { (limit: Int64) in (limit - number + Int64(tasks) - 1) / Int64(tasks) }
      let runs = below(end) - below(first)
      guard runs > 0 else { continue }
      statement.bind(.text(tasks > 1 ? "\(task).\(number)" : task), at: 1)
      statement.bind(runs, at: 3)
      try statement.run()
    }
  }

  /// `sample_id(number)`: the id of a run.
  private static func register(_ ids: StoreSample.Identifiers, in database: BareStoreDatabase) throws {
    final class Box {
      let ids: StoreSample.Identifiers
      init(_ ids: StoreSample.Identifiers) { self.ids = ids }
    }
    let code = sqlite3_create_function_v2(
      database.handle, "sample_id", 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC,
      Unmanaged.passRetained(Box(ids)).toOpaque(),
      { context, _, arguments in
        guard let context, let arguments, let box = sqlite3_user_data(context) else { return }
        let ids = Unmanaged<Box>.fromOpaque(box).takeUnretainedValue().ids
        ids.withBytes(of: sqlite3_value_int64(arguments[0])) { bytes in
          sqlite3_result_blob(
            context, bytes.baseAddress, Int32(bytes.count), unsafeBitCast(-1, to: sqlite3_destructor_type.self))
        }
      }, nil, nil, { box in if let box { Unmanaged<Box>.fromOpaque(box).release() } })
    guard code == SQLITE_OK else { throw BenchError("sample_id: \(String(cString: sqlite3_errstr(code)))") }
  }

  /// Else the first commits of what is measured next would pay for the writing back of the fill.
  private static func flush(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw BenchError("\(path) cannot be opened") }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw BenchError("\(path) cannot be flushed") }
  }
}
