import GRDBSQLite
import TaskBridgeCore

/// The store's file, read by SQL of the test's own over a connection of its own.
final class StoreImage {
  private let handle: OpaquePointer
  private var statements: [String: OpaquePointer] = [:]

  struct Failure: Error { let text: String }

  init(path: String) throws {
    var handle: OpaquePointer?
    guard sqlite3_open_v2(path, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, nil) == SQLITE_OK, let handle
    else {
      sqlite3_close_v2(handle)
      throw Failure(text: "\(path) cannot be opened")
    }
    self.handle = handle
  }

  func close() {
    for statement in statements.values { sqlite3_finalize(statement) }
    statements = [:]
    sqlite3_close_v2(handle)
  }

  /// Every row of a statement, mapped.
  func rows<T>(_ sql: String, _ values: [Int64] = [], map: (ImageRow) -> T) throws -> [T] {
    let statement = try prepare(sql)
    defer { sqlite3_reset(statement) }
    for (index, value) in values.enumerated() { sqlite3_bind_int64(statement, Int32(index + 1), value) }
    var rows: [T] = []
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW: rows.append(map(ImageRow(statement: statement)))
      case SQLITE_DONE: return rows
      default: throw Failure(text: "\(String(cString: sqlite3_errmsg(handle))) in \(sql)")
      }
    }
  }

  /// The first column of each row, as text.
  func texts(_ sql: String, _ values: [Int64] = []) throws -> [String] {
    try rows(sql, values) { $0.text(0) ?? "NULL" }
  }

  /// Another one after each commit that changed the file.
  func version() throws -> Int64 { try rows("PRAGMA data_version") { $0.int(0) ?? 0 }.first ?? 0 }

  private func prepare(_ sql: String) throws -> OpaquePointer {
    if let statement = statements[sql] { return statement }
    var statement: OpaquePointer?
    guard sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil) == SQLITE_OK,
      let statement
    else { throw Failure(text: "\(String(cString: sqlite3_errmsg(handle))) in \(sql)") }
    statements[sql] = statement
    return statement
  }
}

struct ImageRow {
  let statement: OpaquePointer

  func int(_ column: Int32) -> Int64? {
    sqlite3_column_type(statement, column) == SQLITE_NULL ? nil : sqlite3_column_int64(statement, column)
  }

  func text(_ column: Int32) -> String? {
    guard let bytes = sqlite3_column_text(statement, column) else { return nil }
    return String(cString: bytes)
  }

  /// Of all columns.
  func digest() -> Int {
    var hasher = Hasher()
    for column in 0..<sqlite3_column_count(statement) {
      switch sqlite3_column_type(statement, column) {
      case SQLITE_NULL: hasher.combine(false)
      case SQLITE_INTEGER: hasher.combine(sqlite3_column_int64(statement, column))
      default:
        let bytes = sqlite3_column_blob(statement, column)
        hasher.combine(bytes: UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
        hasher.combine(true)
      }
    }
    return hasher.finalize()
  }

  func word<T: RawRepresentable<String>>(_ column: Int32, _ type: T.Type) -> T? {
    text(column).flatMap { T(rawValue: $0) }
  }
}

/// What is compared of one run: once read from the file, once made from the model.
struct RunImage: Equatable {
  var id: String
  var task: String
  var state: RunState?
  var numbers: [Int64?]
  var keys: [String?]
  var times: [Int64?]
  /// Of a run that has not ended.
  var waitsFrom: Int64?
  var schedule: String?
  var nominalAt: Int64?
  var attemptState: AttemptState?
  var attemptNumbers: [Int64?]
  var attemptWords: [String?]
  var deadLetter: [String?]

  static let sql = """
    SELECT lower(hex(r.id)), r.task, r.state, r.attempt, r.dispatch, r.failures, r.losses, r.priority, r.release_class,
      CASE WHEN r.finished_at IS NULL THEN r.open_dependencies END, r.open_children, r.replays,
      CAST(json_extract(r.resources, '$.m') AS INTEGER), r.dedup_key, lower(hex(r.superseded_by)),
      lower(hex(r.follow_up)), CAST(p.body AS TEXT), r.run_at, r.expires_at, r.finished_at, r.created_at, a.state,
      a.dispatches, a.report_by, a.timeout_at, a.returns, a.claim, a.worker, a.reported_end, d.reason, d.resolution, d.task, r.schedule,
      r.nominal_at, r.seq,
      CASE WHEN r.finished_at IS NULL THEN coalesce(r.ages_from, max(r.created_at, coalesce(r.run_at, r.created_at))) END
    FROM runs r JOIN payloads p ON p.run_seq = r.seq LEFT JOIN attempts a ON a.run_seq = r.seq AND a.number = r.attempt
      LEFT JOIN dead_letters d ON d.run_seq = r.seq ORDER BY r.seq
    """

  static let sequenceColumn: Int32 = 34

  init(_ row: ImageRow) {
    id = row.text(0) ?? ""
    task = row.text(1) ?? ""
    state = row.word(2, RunState.self)
    numbers = (3...12).map { row.int($0) }
    keys = (13...16).map { row.text($0) }
    times = (17...20).map { row.int($0) }
    waitsFrom = row.int(35)
    schedule = row.text(32)
    nominalAt = row.int(33)
    attemptState = row.word(21, AttemptState.self)
    attemptNumbers = (22...25).map { row.int($0) }
    attemptWords = (26...28).map { row.text($0) }
    deadLetter = (29...31).map { row.text($0) }
  }

  init(_ run: Model.Run, in model: Model) {
    func hex(_ place: Model.Place?) -> String { place.map { model.runs[$0].id.hex } ?? "" }
    id = run.id.hex
    task = run.task
    state = run.state
    numbers =
      [
        run.attempt, run.dispatch, run.failures, run.losses, run.priority, run.isRetry ? 0 : 1,
        // What an ended run still waits for is counted anew when it is replayed.
        run.isEnded ? nil : run.openPrerequisites, run.openChildren, run.replays, run.memory,
      ].map { $0.map { Int64($0) } }
    keys = [run.dedupKey, hex(run.supersededBy), hex(run.followUp), "{\"n\":\(run.payload)}"]
    times = [run.runAt, run.expiresAt, run.finishedAt, run.createdAt]
    waitsFrom = run.isEnded ? nil : run.waitsFrom
    schedule = run.schedule
    nominalAt = run.nominalAt
    let attempt = run.attempts.last
    attemptState = attempt?.state
    attemptNumbers = [
      attempt.map { Int64($0.dispatches) }, attempt?.reportBy, attempt?.timeoutAt, attempt.map { Int64($0.returns) },
    ]
    attemptWords = [attempt?.claim, attempt?.worker, attempt?.reportedEnd?.rawValue]
    deadLetter = [run.deadLetter?.reason.rawValue, run.deadLetter?.resolution, run.deadLetter?.task]
  }

  /// The parts that differ, for people.
  func difference(from expected: RunImage) -> String {
    zip(Mirror(reflecting: self).children, Mirror(reflecting: expected).children)
      .filter { "\($0.value)" != "\($1.value)" }
      .map { "\($0.label ?? ""): stored \($0.value), expected \($1.value)" }.joined(separator: "; ")
      .replacing("Optional", with: "")
  }
}

extension RunID {
  /// The 32 digits of the stored bytes.
  var hex: String { description.replacing("-", with: "") }
}
