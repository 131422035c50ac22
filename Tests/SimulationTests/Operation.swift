import TaskBridgeCore

/// One step of a history. It holds every choice it makes, the runs it means as numbers that are reduced to what there is
/// when it is played: so each part of a history is a history.
indirect enum Operation: Sendable {
  case submit(SubmissionPick)
  /// May take the place of a workflow.
  case batch([SubmissionPick], superseding: String?)
  case advance(milliseconds: Int64)
  /// To the moment something is due, or just before it.
  case advanceToDue(offset: Int64)
  /// Somebody sets the wall clock.
  case setClock(milliseconds: Int64)
  case tick
  case release(max: Int)
  case confirm(UInt32)
  case confirmAll
  case report(ReportPick)
  /// Confirms and reports that one write applies.
  case burst([ReportPick])
  case unroutable(UInt32)
  case returned(UInt32, DeadLetterReason?)
  case takeBack(UInt32)
  case takeBackLaunched(UInt32)
  case giveUpOrphans(UInt32)
  case publishNotices
  case cancel(UInt32)
  case pauseRun(UInt32)
  case resumeRun(UInt32)
  case replay(UInt32, Model.ReplayOptions)
  case discard(UInt32)
  case delete(UInt32)
  case prune(Model.Prune)
  case bulk(Model.BulkWish)
  case startJob(Model.BulkWish)
  case workJob(UInt32, slice: Int)
  case cancelJob(UInt32)
  case schedule(SchedulePick)
  case setState(UInt32, Model.StateWish)
  case change(UInt32, Model.Change)
  case pause(UInt32, seconds: Int?)
  case resume(UInt32)
  case setTask(UInt32, Gates.Settings)
  case setGroup(UInt32, Gates.Settings)
  case loseBroker
  case reconnect
  case crash
  /// Everything is done but the commit fails.
  case aborted(Operation)
}

struct SubmissionPick: Sendable {
  var request: Request
  /// Runs there are, or with `fromBatch` earlier and later items.
  var dependsOn: [UInt32] = []
  var dependsOnItems: [Int] = []
  var parent: UInt32?
}

struct ReportPick: Sendable {
  enum Target: Sendable { case open, any, foreignRun, notIssued }
  enum Holder: Sendable { case right, implied, other, none }

  var target: Target
  var token: UInt32
  var holder: Holder
  var words: ReportWords
}
