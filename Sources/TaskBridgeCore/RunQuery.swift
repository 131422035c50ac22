/// The order of a list of runs; each ends in the order of submission, so that it is total.
public enum RunSort: String, Sendable, CaseIterable {
  case idAscending = "id"
  case idDescending = "-id"
  case runAtAscending = "run_at"
  case runAtDescending = "-run_at"
  case nameAscending = "name"
  case nameDescending = "-name"
  case finishedAtDescending = "-finished_at"
  /// By effective priority (0 first), then older first.
  case priority
  /// The order of release: effective priority, then retries before new runs, then older first; where waiting makes more
  /// urgent, older is who has waited longer. Newest first where the task key says so.
  case release
}

/// Which page of which runs.
public struct RunQuery: Sendable, Equatable {
  public static let limitRange = 1...1_000

  public var filter: RunFilter
  public var sort: RunSort
  /// 1...1,000.
  public var limit: Int
  public var cursor: PageCursor?
  /// The payloads too; a page then ends early when they pass ``payloadBytesMax``.
  public var includesPayload = false

  public static let payloadBytesMax = 16 * 1_048_576

  public init(
    filter: RunFilter = RunFilter(), sort: RunSort = .idDescending, limit: Int = 50, cursor: PageCursor? = nil
  ) {
    self.filter = filter
    self.sort = sort
    self.limit = limit
    self.cursor = cursor
  }

  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter]) throws(Problem) {
    var reader = ParameterReader(parameters)
    let sort = reader.word("sort", as: RunSort.self) ?? .idDescending
    let page = PageRequest(&reader)
    let filter = RunFilter(&reader)
    let includesPayload = reader.bool("payload") ?? false
    try reader.finish(known: RunFilter.names + ["sort", "payload"] + PageRequest.names)
    self.init(filter: filter, sort: sort, limit: page.limit, cursor: try page.cursor(of: "runs/\(sort.rawValue)"))
    self.includesPayload = includesPayload
  }

  /// What binds a cursor to its list.
  public var scope: String { "runs/\(sort.rawValue)" }
}

/// `limit` and `cursor` of any list.
public struct PageRequest: Sendable, Equatable {
  public static let names = ["limit", "cursor"]

  public var limit: Int
  private var text: Parameter?

  public init(_ reader: inout ParameterReader) {
    limit = reader.integer("limit", in: RunQuery.limitRange) ?? 50
    text = reader.one("cursor")
  }

  /// - Throws: 400 `invalid_cursor` for a text that this list did not hand out.
  public func cursor(of scope: String) throws(Problem) -> PageCursor? {
    guard let text else { return nil }
    guard let cursor = PageCursor(text: text.value, scope: scope) else {
      throw Problem(
        400, "invalid_cursor",
        "cursor is not one that this list handed out; take next_cursor of the page before, with the same sort, or leave it out",
        errors: [Fault(pointer: text.pointer, detail: "not a cursor of this list")])
    }
    return cursor
  }
}

/// Which page of a list that has no filters, or of one that has read its own already.
public struct PageQuery: Sendable, Equatable {
  public var scope: String
  public var limit: Int
  /// The number of the last row of the page before.
  public var last: Int64?

  /// - Parameter scope: the list, which binds its cursors.
  /// - Throws: 422 for unknown names and wrong values, 400 `invalid_cursor`.
  public init(parameters: [Parameter], scope: String) throws(Problem) {
    var reader = ParameterReader(parameters)
    let page = PageRequest(&reader)
    try reader.finish(known: PageRequest.names)
    try self.init(page, scope: scope)
  }

  public init(_ page: PageRequest, scope: String) throws(Problem) {
    self.scope = scope
    limit = page.limit
    last = try page.cursor(of: scope)?.integer
  }

  /// The page made of `rows`, which were asked for with one more than ``limit``.
  public func page<Item>(_ rows: [Item], number: (Item) -> Int64) -> Page<Item> {
    Page(rows, limit: limit) { PageCursor(number($0)).text(scope: scope) }
  }
}

/// A page of a list: `{"items":[…],"next_cursor":null|"…"}`.
public struct Page<Item: Sendable & JSONWritable>: Sendable, JSONWritable {
  public var items: [Item]
  /// Nil on the last page.
  public var nextCursor: String?

  public init(items: [Item], nextCursor: String?) {
    self.items = items
    self.nextCursor = nextCursor
  }

  /// Cuts rows that were asked for with one more than `limit`, which tells whether there is a next page.
  /// - Parameter cursor: the cursor after this item.
  public init(_ rows: [Item], limit: Int, cursor: (Item) -> String) {
    let hasMore = rows.count > limit
    items = hasMore ? Array(rows.prefix(limit)) : rows
    nextCursor = hasMore ? items.last.map(cursor) : nil
  }

  public func write(to json: inout JSONWriter) {
    json.object { json in
      json.member("items", array: items)
      json.member("next_cursor", nextCursor)
    }
  }
}

extension Page: Equatable where Item: Equatable {}
