extension BridgeClient {
  /// Prints a list as `options` ask for it, and says on stderr how to see more.
  /// - Throws: `CommandFailure`; 64 for `--all` with `--output json`, which prints the server's bytes and so one page.
  func list(
    _ path: String, _ query: Query, _ options: PageOptions, printer: Printer, table: Table,
    fill: (inout Table, JSONSlice) -> Void
  ) async throws {
    if options.all, printer.format == .json {
      throw CommandFailure.usage("--output json prints one page as the server sent it: use --all with --output jsonl")
    }
    var query = query
    query.add("limit", String(options.all ? 1_000 : options.limit))
    var cursor = options.cursor
    var collected: [JSONSlice] = []
    repeat {
      var page = query
      page.add("cursor", cursor)
      let answer = try await get(path, page)
      cursor = answer.json["next_cursor"]?.string
      if printer.format == .json { return StandardOutput.writeLine(answer.body) }
      let items = answer.json["items"]?.elements ?? []
      if printer.format == .jsonl {
        printer.items(items, table, fill: fill)
      } else {
        collected += items
      }
    } while options.all && cursor != nil
    if printer.format == .table { printer.items(collected, table, fill: fill) }
    if let cursor { StandardError.say("there is more: --cursor \(cursor), or --all") }
  }
}
