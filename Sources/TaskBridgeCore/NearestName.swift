/// The allowed name that a mistyped one most likely means; `nil` when none is near.
///
/// Near is: at most a third of the letters differ (two for short names), `-` and `_` and letter case counting as equal.
public func nearestName(to name: String, among allowed: some Sequence<String>) -> String? {
  let typed = comparable(name)
  var best: (name: String, distance: Int)?
  for candidate in allowed {
    let letters = comparable(candidate)
    let distance = editDistance(typed, letters)
    guard distance <= max(2, letters.count / 3), distance < letters.count else { continue }
    if distance < best?.distance ?? .max { best = (candidate, distance) }
  }
  return best?.name
}

/// The `count` names that differ least from `name`, the nearest first, however far they are.
public func nearestNames(to name: String, among names: some Sequence<String>, count: Int) -> [String] {
  let typed = comparable(name)
  let ranked = names.map { (distance: editDistance(typed, comparable($0)), name: $0) }
  return ranked.sorted { ($0.distance, $0.name) < ($1.distance, $1.name) }.prefix(count).map(\.name)
}

/// The first 100 bytes in lower case, `-` as `_`.
private func comparable(_ name: String) -> [UInt8] {
  name.lowercased().utf8.prefix(100).map { $0 == 45 ? 95 : $0 }
}

/// How many letters must be added, removed or replaced (Levenshtein).
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
  var row = Array(0...right.count)
  for (i, letter) in left.enumerated() {
    var diagonal = row[0]
    row[0] = i + 1
    for j in right.indices {
      let above = row[j + 1]
      row[j + 1] = min(above + 1, row[j] + 1, diagonal + (letter == right[j] ? 0 : 1))
      diagonal = above
    }
  }
  return row[right.count]
}
