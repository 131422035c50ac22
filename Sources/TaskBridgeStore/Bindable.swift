import GRDBSQLite
import TaskBridgeCore

/// A value that can stand for a `?` of a statement.
protocol Bindable {
  /// Binds at `index` and moves it on.
  func bind(to statement: OpaquePointer, at index: inout Int32)
}

/// SQLite copies what it is given: the Swift memory is only lent for the call.
nonisolated(unsafe) private let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

extension Int64: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    sqlite3_bind_int64(statement, index, self)
    index += 1
  }
}

extension Int: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) { Int64(self).bind(to: statement, at: &index) }
}

extension Bool: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) { (self ? 1 : 0).bind(to: statement, at: &index) }
}

extension Double: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    sqlite3_bind_double(statement, index, self)
    index += 1
  }
}

extension String: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    var text = self
    text.withUTF8 { bytes in
      _ = bytes.withMemoryRebound(to: CChar.self) {
        // An empty buffer may have no address, which SQLite would take for NULL.
        sqlite3_bind_text(statement, index, $0.baseAddress ?? emptyText, Int32($0.count), transient)
      }
    }
    index += 1
  }
}

nonisolated(unsafe) private let emptyText: UnsafePointer<CChar> = {
  let pointer = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
  pointer.initialize(to: 0)
  return UnsafePointer(pointer)
}()

extension [UInt8]: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    if isEmpty {
      sqlite3_bind_zeroblob(statement, index, 0)
    } else {
      _ = withUnsafeBytes { sqlite3_bind_blob(statement, index, $0.baseAddress, Int32($0.count), transient) }
    }
    index += 1
  }
}

extension Timestamp: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) { milliseconds.bind(to: statement, at: &index) }
}

extension RunID: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { bytes in
      bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
      bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      _ = sqlite3_bind_blob(statement, index, bytes.baseAddress, 16, transient)
    }
    index += 1
  }
}

extension TaskKey: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) { rawValue.bind(to: statement, at: &index) }
}

extension Optional: Bindable where Wrapped: Bindable {
  func bind(to statement: OpaquePointer, at index: inout Int32) {
    if let self {
      self.bind(to: statement, at: &index)
    } else {
      sqlite3_bind_null(statement, index)
      index += 1
    }
  }
}

extension Bindable where Self: RawRepresentable<String> {
  func bind(to statement: OpaquePointer, at index: inout Int32) { rawValue.bind(to: statement, at: &index) }
}

extension RunState: Bindable {}
extension AttemptState: Bindable {}
extension ReportedState: Bindable {}
extension VerdictCode: Bindable {}
extension OnDependencyFailure: Bindable {}
extension TTLFrom: Bindable {}
extension DeadLetterReason: Bindable {}
extension ScheduleView.Time.Reason: Bindable {}
