import TaskBridgeCore
import Testing

@Suite struct ResourceScalingTests {
  @Test(
    "N31: a share is added and rounded up",
    arguments: [
      (0.5, 10, 15), (0.1, 10, 11), (0.2, 1, 2), (1, 512, 1024), (0, 7, 7), (0.3, 100, 130), (0.5, 0, 0),
    ] as [(Double, Double, Double)])
  func aShareIsAddedAndRoundedUp(share: Double, value: Double, scaled: Double) {
    #expect(ResourceScale.factor(share).scaled(value) == scaled)
  }

  @Test func aListGoesOnToItsLastValue() {
    let scale = ResourceScale.values([2, 4, 8])

    #expect([0, 1, 2, 3, 4, 8, 9].map { scale.scaled($0) } == [2, 2, 4, 4, 8, 8, 8])
  }

  @Test func scalingStaysFinite() {
    var value = 1e15
    for _ in 0..<1000 { value = ResourceScale.factor(1_000_000).scaled(value) }
    #expect(value.isFinite)
  }

  @Test(arguments: ["-1", "[]", "[1,\"2\"]", "null", "true", "{}", "\"1\"", "[-1]"])
  func whatIsNoScaleIsAFault(text: String) {
    var faults: [Fault] = []

    let scale = ResourceScale(json: .parsed(text), pointer: "/x", faults: &faults)

    #expect(scale == nil)
    #expect(faults.count == 1)
  }
}
