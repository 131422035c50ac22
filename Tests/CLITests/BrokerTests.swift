import Foundation
import Testing

@testable import TaskBridgeCLI

/// The parts of the private broker that need no broker.
@Suite struct BrokerTests {
  @Test func aMissingRabbitMQIsNamedWithTheCommandThatInstallsIt() throws {
    let failure = try #require(throws: CommandFailure.self) {
      try PrivateBroker(
        dataFolder: "/tmp", port: nil, environment: ["TASKBRIDGE_RABBITMQ_SERVER": "/no/such/rabbitmq-server"])
    }

    #expect(failure.status == .unreachable)
    #expect(failure.message.contains("apt-get install rabbitmq-server"))
  }

  @Test func theRecordSurvivesWritingAndReading() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("broker-\(UUID().uuidString).json").path
    defer { unlink(path) }
    let record = BrokerRecord(
      pid: 7, port: 5672, url: "amqp://127.0.0.1:5672/", dataDirectory: "/d", epmdPID: 8, marker: "m")

    try record.write(path)

    #expect(BrokerRecord.read(path) == record)
    #expect(BrokerRecord.read(path + ".none") == nil)
  }

  @Test func aPidThatBelongsToSomethingElseIsNoBroker() {
    let record = BrokerRecord(
      pid: getpid(), port: 1, url: "", dataDirectory: "", epmdPID: getpid(), marker: "taskbridge_0")

    #expect(!record.isAlive)
    #expect(!record.epmdIsAlive)
    #expect(ProcessTable.isAlive(getpid()))
  }

  @Test func aFreePortIsFreeAndSpeaksNoAMQP() throws {
    let port = try LoopbackPort.free()

    #expect(LoopbackPort.isFree(port))
    #expect(!LoopbackPort.speaksAMQP(port))
  }

  @Test func theNodeListensOnLoopbackOnly() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("broker-\(UUID().uuidString)").path
    let folder = BrokerFolder(path: path)

    try folder.prepare(port: 4_321, owner: .ourselves)

    let settings = try String(contentsOfFile: folder.configuration, encoding: .utf8)
    #expect(settings.contains("listeners.tcp.1 = 127.0.0.1:4321\n"))
    #expect(FileMode.of(folder.cookie) == 0o400)
    #expect(FileMode.of(path) == 0o700)
    try FileManager.default.removeItem(atPath: path)
  }

  @Test func aSecondDevKeepsOutOfTheFolder() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("dev-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let first = try DevLock(folder: folder)

    let failure = try #require(throws: CommandFailure.self) { try DevLock(folder: folder) }
    first.release()
    let third = try DevLock(folder: folder)

    #expect(failure.status == .unreachable)
    #expect(failure.message.contains("pid \(getpid())"))
    third.release()
    try FileManager.default.removeItem(atPath: folder)
  }
}
