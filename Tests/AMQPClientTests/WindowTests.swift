import Testing

@testable import AMQPClient

/// The two books of a channel: what was published and not confirmed, what was delivered and not settled.
@Suite struct ConfirmWindowTests {
  @Test func everyMessageIsSettledOnceInWhateverOrderConfirmsCome() {
    var random = SeededGenerator(seed: 7)
    for _ in 0..<200 {
      var window = ConfirmWindow<UInt64>()
      var open = Set<UInt64>()
      var settled: [UInt64] = []
      for _ in 0..<300 {
        if Bool.random(using: &random) {
          open.insert(window.nextTag)
          window.append(window.nextTag, identity: nil)
        } else {
          let tag = UInt64.random(in: 0...window.nextTag + 3, using: &random)
          let multiple = UInt8.random(in: 0..<4, using: &random) == 0
          window.settle(tag: tag, multiple: multiple, as: .confirmed) { id, _ in settled.append(id) }
          let last = tag == 0 && multiple ? .max : tag
          if multiple {
            if last < window.nextTag || tag == 0 { open = open.filter { $0 > last } }
          } else {
            open.remove(tag)
          }
        }
        #expect(window.count == open.count)
      }
      #expect(Set(settled).count == settled.count)
      #expect(Set(window.removeAll()) == open)
      #expect(window.nextTag == 1)
    }
  }

  @Test func aLongLivedWindowKeepsCounting() {
    var window = ConfirmWindow<Int>()
    for index in 0..<50_000 {
      window.append(index, identity: nil)
      guard index >= 500 else { continue }
      var settled: [Int] = []
      window.settle(tag: UInt64(index - 499), multiple: false, as: .confirmed) { id, _ in settled.append(id) }
      #expect(settled == [index - 500])
    }
    #expect(window.count == 500)
    #expect(window.nextTag == 50_001)
  }
}

@Suite struct DeliveryLedgerTests {
  @Test func aPrefixIsOneAcknowledgementAndTheRestAreSingle() {
    var ledger = DeliveryLedger()
    for tag in 1...10 { #expect(ledger.delivered(tag: UInt64(tag)) == UInt64(tag)) }

    #expect(
      ledger.acknowledge([3, 2]) == [.acknowledge(tag: 3, multiple: false), .acknowledge(tag: 2, multiple: false)])
    #expect(ledger.acknowledge([1]) == [.acknowledge(tag: 1, multiple: false)])
    #expect(
      ledger.acknowledge([6, 4, 5, 9]) == [
        .acknowledge(tag: 6, multiple: true), .acknowledge(tag: 9, multiple: false),
      ])
    #expect(ledger.reject(7, requeue: false) == .reject(tag: 7, requeue: false))
    #expect(ledger.acknowledge([7, 9, 8, 10]) == [.acknowledge(tag: 10, multiple: true)])
    #expect(ledger.unsettledCount == 0)
  }

  @Test func aNewChannelsTagsGoOnFromTheOldOnes() {
    var ledger = DeliveryLedger()
    for tag in 1...3 { _ = ledger.delivered(tag: UInt64(tag)) }
    _ = ledger.acknowledge([1])

    ledger.channelClosed()

    #expect(ledger.delivered(tag: 1) == 4)
    #expect(ledger.acknowledge([1, 2, 3]) == [])
    #expect(ledger.reject(2, requeue: true) == nil)
    #expect(ledger.acknowledge([4]) == [.acknowledge(tag: 1, multiple: false)])
  }

  @Test func tagsOutOfOrderAreRefusedAndGapsAreWithoutAcknowledgement() {
    var ledger = DeliveryLedger()
    #expect(ledger.delivered(tag: 0) == nil)
    #expect(ledger.delivered(tag: 5) == 5)
    #expect(ledger.delivered(tag: 5) == nil)
    #expect(ledger.delivered(tag: 4) == nil)
    #expect(ledger.delivered(tag: 1 << 40) == nil)
    #expect(ledger.delivered(tag: 9) == 9)
    #expect(ledger.acknowledge([1, 6, 9, 5]) == [.acknowledge(tag: 9, multiple: true)])
  }

  /// Plays the broker's side: an acknowledgement with `multiple` takes everything up to its tag.
  @Test func noAcknowledgementEverTakesAnUnsettledDelivery() {
    var random = SeededGenerator(seed: 11)
    for _ in 0..<200 {
      var ledger = DeliveryLedger()
      var atBroker = Set<UInt64>()
      var unsettled = Set<UInt64>()
      var next: UInt64 = 1
      for _ in 0..<200 {
        switch UInt8.random(in: 0..<4, using: &random) {
        case 0, 1:
          next += UInt64.random(in: 0...1, using: &random)
          _ = ledger.delivered(tag: next)
          atBroker.insert(next)
          unsettled.insert(next)
          next += 1
        case 2:
          let tags = unsettled.filter { _ in Bool.random(using: &random) }
          unsettled.subtract(tags)
          for action in ledger.acknowledge(tags.shuffled(using: &random)) {
            guard case .acknowledge(let tag, let multiple) = action else { continue }
            #expect(atBroker.contains(tag))
            atBroker = atBroker.filter { multiple ? $0 > tag : $0 != tag }
          }
        default:
          guard let tag = unsettled.randomElement(using: &random) else { continue }
          unsettled.remove(tag)
          if case .reject(let rejected, _) = ledger.reject(tag, requeue: true) { atBroker.remove(rejected) }
        }
        #expect(atBroker == unsettled)
        #expect(ledger.unsettledCount == unsettled.count)
      }
    }
  }
}

/// The same numbers in every run (SplitMix64).
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}
