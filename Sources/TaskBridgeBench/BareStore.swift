/// Plain loops over SQLite's C interface that write what the store writes for the same work: the limit to hold it
/// against.
///
/// The honest fastest loop: the store's own file, tables, indexes and constraints, WAL with `synchronous=FULL`,
/// prepared statements, one transaction for each batch, nothing read, nothing decided, no foreign keys looked up.
enum BareStore {
  /// Inserts what a submission makes.
  ///
  /// - Parameters:
  ///   - rows: runs to insert, at least 1.
  ///   - batch: runs in one transaction, at least 1.
  ///   - folder: for the store; a new one is made there.
  /// - Returns: runs per second.
  static func insertLoop(rows: Int, batch: Int, payloadBytes: Int = 256, folder: String) async throws -> Double {
    let sample = try await StoreSample.make(.ready, payloadBytes: payloadBytes, folder: folder)
    let database = try open(folder)
    let image = try BareStoreImage(ofRun: sample.sequence, in: database)
    let plan = try BareStorePlan(from: nil, to: image, in: database)
    return try run(plan, rows: rows, batch: batch, after: image, in: database)
  }

  /// Writes what the report `completed` makes of claimed runs.
  ///
  /// - Parameters: as of ``insertLoop(rows:batch:payloadBytes:folder:)``.
  /// - Returns: runs per second.
  static func updateLoop(rows: Int, batch: Int, folder: String) async throws -> Double {
    let sample = try await StoreSample.make(.claimed, folder: folder)
    let before = try BareStoreImage(ofRun: sample.sequence, in: BareStoreDatabase(path: StoreSample.path(in: folder)))
    try StoreFiller.clone(before, count: rows, folder: folder)
    let counted = try BareStoreImage(ofRun: sample.sequence, in: BareStoreDatabase(path: StoreSample.path(in: folder)))
    try await StoreSample.complete(sample, folder: folder)
    let database = try open(folder)
    let after = try BareStoreImage(ofRun: sample.sequence, in: database)
    let plan = try BareStorePlan(from: counted, to: after, in: database)
    return try run(plan, rows: rows, batch: batch, after: after, in: database)
  }

  private static func open(_ folder: String) throws -> BareStoreDatabase {
    let database = try BareStoreDatabase(path: StoreSample.path(in: folder))
    try database.execute(
      """
      PRAGMA journal_mode = WAL;
      PRAGMA synchronous = FULL;
      PRAGMA wal_autocheckpoint = 1000;
      PRAGMA mmap_size = 0;
      PRAGMA temp_store = MEMORY;
      PRAGMA secure_delete = FAST;
      """)
    guard try database.integer("PRAGMA synchronous") == 2 else { throw BenchError("synchronous is not FULL") }
    return database
  }

  private static func run(
    _ plan: BareStorePlan, rows: Int, batch: Int, after image: BareStoreImage, in database: BareStoreDatabase
  ) throws -> Double {
    let begin = try database.prepare("BEGIN IMMEDIATE")
    let commit = try database.prepare("COMMIT")
    let ids = StoreSample.Identifiers(after: image)
    let begun = ContinuousClock.now
    var next = image.sequence + 1
    let end = next + Int64(rows)
    while next < end {
      let last = min(end, next + Int64(batch))
      try begin.run()
      for sequence in next..<last {
        try ids.withBytes(of: sequence) { try plan.write(sequence: sequence, id: $0) }
      }
      try plan.writeCounts(runs: last - next)
      try commit.run()
      next = last
    }
    return Double(rows) / (ContinuousClock.now - begun).seconds
  }
}
