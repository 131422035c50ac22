import Dispatch
import GRDB
import GRDBSQLite
import Logging
import Synchronization
import TaskBridgeCore

/// Group commit: whatever is waiting when the writer gets to it, at most ``batchMax`` operations, is run as one
/// transaction with one fsync, and answered after the COMMIT.
///
/// When one operation of a batch throws, all of it is rolled back and each is run alone, so that a failure is answered
/// to the one who caused it. Operations may therefore run twice and have no effects outside the database.
final class Writer: Sendable {
  /// Most operations in one transaction.
  static let batchMax = 256

  private let pool: DatabasePool
  private let queue = DispatchQueue(label: "taskbridge.store.writer", qos: .userInitiated)
  private let pending = Mutex(Pending())
  private let onCommit: @Sendable (CommitEffects) -> Void
  private let onFatal: @Sendable (StoreError) -> Void
  /// Touched on `queue` only, inside the pool's own exclusive access.
  private let connection: WriterConnection
  /// Touched on `queue` only.
  private let memory: WriterMemory
  /// What operators have set; as of the last commit.
  private let committedControls: Mutex<Controls>

  /// Runs that wait in the store; as of the last commit.
  let backlog: Atomic<Int>

  private struct Pending {
    var operations: [any PendingOperation] = []
    var isScheduled = false
    var isClosed = false
  }

  init(
    pool: DatabasePool, memory: CommittedMemory, onCommit: @escaping @Sendable (CommitEffects) -> Void,
    onFatal: @escaping @Sendable (StoreError) -> Void
  ) {
    self.pool = pool
    self.onCommit = onCommit
    self.onFatal = onFatal
    connection = WriterConnection()
    self.memory = WriterMemory(memory)
    committedControls = Mutex(memory.controls)
    backlog = Atomic(memory.counts.total(in: Transaction.backlog))
  }

  /// Runs `body` in a transaction; returns once it is committed with `synchronous=FULL`.
  func write<T: Sendable>(
    _ body: @escaping @Sendable (Transaction) throws(StoreError) -> T
  ) async throws(StoreError) -> T {
    let result: Result<T, StoreError> = await withCheckedContinuation { continuation in
      enqueue(Operation(body: body, continuation: continuation))
    }
    return try result.get()
  }

  /// Pauses, settings and rate limits, as of the last commit.
  var controls: Controls { committedControls.withLock { $0 } }

  /// Whether nothing is being written or waits to be.
  var isIdle: Bool { pending.withLock { !$0.isScheduled } }

  private func enqueue(_ operation: any PendingOperation) {
    enum Next { case refuse, wait, start }
    let next: Next = pending.withLock { pending in
      if pending.isClosed { return .refuse }
      pending.operations.append(operation)
      if pending.isScheduled { return .wait }
      pending.isScheduled = true
      return .start
    }
    switch next {
    case .refuse: operation.fail(StoreError(.closed, "store: closed"))
    case .wait: break
    case .start: queue.async { self.drain() }
    }
  }

  private func drain() {
    while true {
      let batch: [any PendingOperation] = pending.withLock { pending in
        if pending.operations.isEmpty {
          pending.isScheduled = false
          return []
        }
        let batch = Array(pending.operations.prefix(Self.batchMax))
        pending.operations.removeFirst(batch.count)
        return batch
      }
      if batch.isEmpty { return }
      commit(batch)
    }
  }

  private func commit(_ batch: [any PendingOperation]) {
    do throws(StoreError) {
      try transact(batch)
    } catch {
      if error.kind == .fatalIO {
        // Nothing may be committed or answered any more: memory and disk may differ.
        let rest = pending.withLock { pending in
          defer { pending.operations = [] }
          let isFirst = !pending.isClosed
          pending.isClosed = true
          return (operations: pending.operations, isFirst: isFirst)
        }
        for operation in batch + rest.operations { operation.fail(error) }
        if rest.isFirst { onFatal(error) }
        return
      }
      // A full disk fails every operation alike: running each alone would only repeat it.
      if batch.count == 1 || error.kind == .full || error.kind == .busy {
        for operation in batch { operation.fail(error) }
        return
      }
      for operation in batch { commit([operation]) }
    }
  }

  private func transact(_ batch: [any PendingOperation]) throws(StoreError) {
    let committed: CommittedChanges
    do {
      committed = try pool.writeWithoutTransaction { db in
        let connection = try self.connection.of(db)
        try connection.run("BEGIN IMMEDIATE")
        do {
          let transaction = Transaction(db: connection, memory: self.memory.value)
          for operation in batch { try operation.attempt(transaction) }
          try transaction.finish()
          try connection.run("COMMIT")
          return CommittedChanges(transaction)
        } catch {
          let original = error as? StoreError
          // SQLITE_FULL may already have rolled back the whole transaction.
          // An error of the ROLLBACK itself says less than the one that caused it.
          if connection.isInTransaction { do { try connection.run("ROLLBACK") } catch { throw original ?? error } }
          throw error
        }
      }
    } catch let error as StoreError {
      throw error
    } catch {
      throw StoreError(.other, "store: \(error)")
    }
    memory.value.add(committed)
    if let controls = committed.controls { committedControls.withLock { $0 = controls } }
    backlog.add(committed.backlogDelta, ordering: .relaxed)
    for operation in batch { operation.succeed() }
    if !committed.effects.isEmpty { onCommit(committed.effects) }
  }

  /// Runs `body` on the writer's connection outside any transaction, after what is queued: checkpoints, pragmas.
  func exclusively<T: Sendable>(
    _ body: @escaping @Sendable (Connection) throws(StoreError) -> T
  ) async throws(StoreError) -> T {
    let result: Result<T, StoreError> = await withCheckedContinuation { continuation in
      queue.async {
        do {
          continuation.resume(
            returning: .success(try self.pool.writeWithoutTransaction { try body(self.connection.of($0)) }))
        } catch let error as StoreError {
          continuation.resume(returning: .failure(error))
        } catch {
          continuation.resume(returning: .failure(StoreError(.other, "store: \(error)")))
        }
      }
    }
    return try result.get()
  }

  /// Refuses new operations, finishes the waiting ones, checkpoints and frees the statements.
  func close() {
    pending.withLock { $0.isClosed = true }
    queue.sync {
      let rest = pending.withLock { pending in
        defer { pending.operations = [] }
        return pending.operations
      }
      if !rest.isEmpty { commit(rest) }
      pool.writeWithoutTransaction { _ in self.connection.release() }
    }
  }
}

/// Keeps the statement cache of the pool's one writer connection.
///
/// `@unchecked Sendable`: only used inside `DatabasePool.writeWithoutTransaction`, which is exclusive.
private final class WriterConnection: @unchecked Sendable {
  private var connection: Connection?

  func of(_ db: Database) throws(StoreError) -> Connection {
    if let connection { return connection }
    guard let handle = db.sqliteConnection else { throw StoreError(.closed, "store: closed") }
    let made = Connection(handle)
    connection = made
    return made
  }

  func release() {
    connection?.finalizeAll()
    connection = nil
  }
}

/// `@unchecked Sendable`: only used on the writer's queue.
private final class WriterMemory: @unchecked Sendable {
  var value: CommittedMemory

  init(_ value: CommittedMemory) { self.value = value }
}

private protocol PendingOperation: Sendable {
  func attempt(_ transaction: Transaction) throws(StoreError)
  func succeed()
  func fail(_ error: StoreError)
}

/// `@unchecked Sendable`: `value` is written and read on the writer's queue only.
private final class Operation<T: Sendable>: PendingOperation, @unchecked Sendable {
  private let body: @Sendable (Transaction) throws(StoreError) -> T
  private let continuation: CheckedContinuation<Result<T, StoreError>, Never>
  private var value: T?

  init(
    body: @escaping @Sendable (Transaction) throws(StoreError) -> T,
    continuation: CheckedContinuation<Result<T, StoreError>, Never>
  ) {
    self.body = body
    self.continuation = continuation
  }

  func attempt(_ transaction: Transaction) throws(StoreError) { value = try body(transaction) }

  func succeed() {
    guard let value else { preconditionFailure("an operation succeeded without having run") }
    continuation.resume(returning: .success(value))
  }

  func fail(_ error: StoreError) { continuation.resume(returning: .failure(error)) }
}
