/// The messages that were published on a channel and not yet confirmed, by delivery tag.
///
/// Confirms may come out of order, several at once (`multiple`), and with tag 0 for all. A returned message is announced
/// before its confirm and without a tag; it is found by what was published, in the order of publishing.
struct ConfirmWindow<Destination> {
  /// What a `basic.return` tells of a message. Kept only for mandatory messages, the others cannot come back.
  struct Identity: Equatable {
    let exchange: String
    let routingKey: String
    let messageID: String?
    let bodyBytes: Int
  }

  private struct Entry {
    let destination: Destination
    let identity: Identity?
    var returned: AMQPPublishResult?
  }

  private var entries: [Entry?] = []
  private var head = 0
  /// The tag of `entries[head]`.
  private var headTag: UInt64 = 1
  /// Returns come in the order of publishing, so an older message cannot be meant.
  private var lastReturnedTag: UInt64 = 0
  private(set) var count = 0

  /// The tag the broker will give the next message.
  var nextTag: UInt64 { headTag + UInt64(entries.count - head) }

  mutating func append(_ destination: Destination, identity: Identity?) {
    entries.append(Entry(destination: destination, identity: identity))
    count += 1
  }

  /// Settles one message, or all up to `tag`; what is unknown or already settled is passed over.
  mutating func settle(
    tag: UInt64, multiple: Bool, as result: AMQPPublishResult, _ body: (Destination, AMQPPublishResult) -> Void
  ) {
    let last = tag == 0 && multiple ? nextTag - 1 : tag
    guard last >= headTag, last < nextTag else { return }
    let lastIndex = head + Int(last - headTag)
    for index in (multiple ? head : lastIndex)...lastIndex {
      guard let entry = entries[index] else { continue }
      entries[index] = nil
      count -= 1
      body(entry.destination, entry.returned ?? result)
    }
    dropSettledHead()
  }

  /// Notes that a message came back; the confirm that follows settles it so.
  /// - Returns: whether a message in flight fits.
  mutating func markReturned(_ identity: Identity, as result: AMQPPublishResult) -> Bool {
    var index = max(head, head + Int(max(lastReturnedTag + 1, headTag) - headTag))
    while index < entries.count {
      if let entry = entries[index], entry.returned == nil, entry.identity == identity {
        entries[index]?.returned = result
        lastReturnedTag = headTag + UInt64(index - head)
        return true
      }
      index += 1
    }
    return false
  }

  /// Empties the window, oldest first. The next tag is 1, as on a new channel.
  mutating func removeAll() -> [Destination] {
    let remaining = entries[head...].compactMap { $0?.destination }
    self = ConfirmWindow()
    return remaining
  }

  private mutating func dropSettledHead() {
    while head < entries.count, entries[head] == nil {
      head += 1
      headTag += 1
    }
    if head == entries.count {
      entries.removeAll(keepingCapacity: true)
      head = 0
    } else if head >= 4096 {
      entries.removeFirst(head)
      head = 0
    }
  }
}
