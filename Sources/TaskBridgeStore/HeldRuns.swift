import TaskBridgeCore

/// Runs and attempts that the steps of one batch have changed and not written yet, so that several steps of one run are
/// one UPDATE of each row. Each step still has its audit row; see ``LedgerRows``.
struct HeldRuns {
  struct Entry {
    var run: Run
    /// What the compare-and-set compares: the run as it is stored.
    var was: RunMark
    var isRunChanged = false
    /// Set once it was changed.
    var attempt: Attempt?
  }

  /// Whether changes are held at all.
  var isOn = false
  private(set) var entries: [Entry] = []
  private var places: [RunID: Int] = [:]

  var isEmpty: Bool { entries.isEmpty }

  subscript(id: RunID) -> Entry? { places[id].map { entries[$0] } }

  mutating func keep(_ run: Run, was: RunMark) {
    if let place = places[run.id] {
      entries[place].run = run
      entries[place].isRunChanged = true
    } else {
      places[run.id] = entries.count
      entries.append(Entry(run: run, was: was, isRunChanged: true))
    }
  }

  /// - Parameter run: as it is stored, unless it is held already.
  mutating func keep(_ attempt: Attempt, of run: Run) {
    let place = places[run.id] ?? entries.count
    if place == entries.count {
      places[run.id] = place
      entries.append(Entry(run: run, was: RunMark(run)))
    }
    entries[place].attempt = attempt
  }

  mutating func takeAll() -> [Entry] {
    defer {
      entries = []
      places = [:]
    }
    return entries
  }
}

extension Transaction {
  /// Runs `body` with the changes of runs held back until its end, so that a run that moves several times is written once.
  ///
  /// Only for steps that read runs by id. Whatever follows for other runs is done inside ``apart(_:)``.
  package func together<T>(_ body: () throws(StoreError) -> T) throws(StoreError) -> T {
    held.isOn = true
    let value = try body()
    held.isOn = false
    try writeHeld()
    return value
  }

  /// Writes what is held and runs `body` without holding anything: it may read runs by SQL.
  func apart<T>(_ body: () throws(StoreError) -> T) throws(StoreError) -> T {
    let wasOn = held.isOn
    try writeHeld()
    held.isOn = false
    let value = try body()
    held.isOn = wasOn
    return value
  }

  private func writeHeld() throws(StoreError) {
    if held.isEmpty { return }
    for entry in held.takeAll() {
      if entry.isRunChanged { try write(entry.run, was: entry.was) }
      if let attempt = entry.attempt { try write(attempt, of: entry.run) }
    }
  }
}
