/// The deliveries of one channel and what is still to be told the broker about them.
///
/// Several consumers share the tags of a channel. An acknowledgement with `multiple` covers every unsettled delivery up
/// to its tag, whoever got it, so it is only ever sent for a prefix that is settled without a gap.
///
/// Tags towards the user (`public`) go on counting when the channel is opened again and the broker's start at 1.
struct DeliveryLedger {
  enum Action: Equatable {
    case acknowledge(tag: UInt64, multiple: Bool)
    case reject(tag: UInt64, requeue: Bool)
  }

  private enum Slot {
    case unsettled
    /// Acknowledged by the user, not yet sent.
    case acknowledged
    case settled
  }

  /// A broker numbers deliveries one by one; a jump beyond this is nonsense and must not make us allocate.
  static let gapMax: UInt64 = 1 << 20

  private var slots: [Slot] = []
  private var head = 0
  /// The broker's tag of `slots[head]`.
  private var headTag: UInt64 = 1
  private var lastTag: UInt64 = 0
  /// Added to the broker's tag to make the public one.
  private var offset: UInt64 = 0
  private(set) var unsettledCount = 0

  /// Notes a delivery.
  /// - Returns: the public tag, or `nil` when the broker's tag is out of order.
  mutating func delivered(tag: UInt64) -> UInt64? {
    guard tag > lastTag, tag - lastTag <= Self.gapMax else { return nil }
    // Deliveries without acknowledgement use up tags too.
    while lastTag + 1 < tag {
      slots.append(.settled)
      lastTag += 1
    }
    slots.append(.unsettled)
    lastTag = tag
    unsettledCount += 1
    dropSettledHead()
    return offset + tag
  }

  /// - Returns: what is to be sent for these acknowledgements, in this order. Unknown, settled and outdated tags are
  ///   passed over.
  mutating func acknowledge(_ publicTags: [UInt64]) -> [Action] {
    var marked: [Int] = []
    marked.reserveCapacity(publicTags.count)
    for tag in publicTags {
      guard let index = unsettledIndex(tag) else { continue }
      slots[index] = .acknowledged
      unsettledCount -= 1
      marked.append(index)
    }
    var actions: [Action] = []
    var prefixEnd = head
    var lastInPrefix: Int?
    var countInPrefix = 0
    prefix: while prefixEnd < slots.count {
      switch slots[prefixEnd] {
      case .unsettled: break prefix
      case .acknowledged:
        lastInPrefix = prefixEnd
        countInPrefix += 1
        slots[prefixEnd] = .settled
      case .settled: break
      }
      prefixEnd += 1
    }
    if let lastInPrefix {
      actions.append(.acknowledge(tag: brokerTag(lastInPrefix), multiple: countInPrefix > 1))
    }
    for index in marked where slots[index] == .acknowledged {
      slots[index] = .settled
      actions.append(.acknowledge(tag: brokerTag(index), multiple: false))
    }
    dropSettledHead()
    return actions
  }

  mutating func reject(_ publicTag: UInt64, requeue: Bool) -> Action? {
    guard let index = unsettledIndex(publicTag) else { return nil }
    let action = Action.reject(tag: brokerTag(index), requeue: requeue)
    slots[index] = .settled
    unsettledCount -= 1
    dropSettledHead()
    return action
  }

  /// The channel is gone and with it every unsettled delivery; the broker delivers them again.
  mutating func channelClosed() {
    offset += lastTag
    slots.removeAll(keepingCapacity: true)
    head = 0
    headTag = 1
    lastTag = 0
    unsettledCount = 0
  }

  private func brokerTag(_ index: Int) -> UInt64 { headTag + UInt64(index - head) }

  private func unsettledIndex(_ publicTag: UInt64) -> Int? {
    guard publicTag > offset else { return nil }
    let tag = publicTag - offset
    guard tag >= headTag, tag <= lastTag else { return nil }
    let index = head + Int(tag - headTag)
    return slots[index] == .unsettled ? index : nil
  }

  private mutating func dropSettledHead() {
    while head < slots.count, slots[head] == .settled {
      head += 1
      headTag += 1
    }
    if head == slots.count {
      slots.removeAll(keepingCapacity: true)
      head = 0
    } else if head >= 65_536 {
      slots.removeFirst(head)
      head = 0
    }
  }
}
