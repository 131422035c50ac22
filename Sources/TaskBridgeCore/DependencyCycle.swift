/// One circle of items that wait for each other, its first item again at the end; empty when there is none.
///
/// - Parameter prerequisites: for each item those it waits for.
public func dependencyCycle(_ prerequisites: [[Int]]) -> [Int] {
  enum Mark { case new, onPath, done }
  var marks = Array(repeating: Mark.new, count: prerequisites.count)
  for start in prerequisites.indices where marks[start] == .new {
    // A loop with a stack of its own: a batch may be one chain of thousands.
    var path: [(item: Int, next: Int)] = [(start, 0)]
    marks[start] = .onPath
    while let (item, next) = path.last {
      guard next < prerequisites[item].count else {
        marks[item] = .done
        path.removeLast()
        continue
      }
      path[path.count - 1].next += 1
      let wanted = prerequisites[item][next]
      switch marks[wanted] {
      case .new:
        marks[wanted] = .onPath
        path.append((wanted, 0))
      case .onPath: return path.map(\.item).drop { $0 != wanted } + [wanted]
      case .done: break
      }
    }
  }
  return []
}

/// A circle in words: `#0 waits for #2 waits for #0`, long ones cut in the middle.
public func dependencyCycleText(_ cycle: [Int]) -> String {
  let shown =
    cycle.count <= 12
    ? cycle.map { "#\($0)" } : cycle.prefix(6).map { "#\($0)" } + ["…"] + cycle.suffix(5).map { "#\($0)" }
  return shown.joined(separator: " waits for ")
}
