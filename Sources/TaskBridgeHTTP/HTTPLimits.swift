/// What one client may ask of the server; every bound has its number here.
enum HTTPLimits {
  /// Longest request target; 1,000 ids of a filter fit.
  static let targetBytesMax = 49_152
  /// Names and values of all header fields together.
  static let headerBytesMax = 16_384
  static let headerFieldsMax = 100
  /// What the decoder takes before it gives up: more than the limits above, so that those can be answered by name.
  static let decoderHeaderBytesMax = 131_072
  static let decoderHeaderFieldsMax = 256

  /// A batch of submissions.
  static let batchBytesMax = 64 * 1_048_576
  /// A worker's report.
  static let reportBytesMax = 16 * 1_048_576
  /// Any other body.
  static let bodyBytesMax = 1_048_576
  /// What a submission holds beside its payload.
  static let submissionExtraBytes = 262_144

  /// A connection without a request is closed after so long.
  static let idleSeconds: Int64 = 30
  /// A request must have been read within so long after its head.
  static let readSeconds: Int64 = 60
  /// After a refused body: how long and how much is still read, so that the answer arrives before the reset.
  static let lingerSeconds: Int64 = 2
  static let lingerBytesMax = 16 * 1_048_576
  /// Connections in the kernel's queue.
  static let backlog = 1_024
  /// Open connections; above, the longest idle one is closed for each new one.
  static let connectionsMax = 1_000
  /// How long a stop waits for requests in progress.
  static let stopSeconds: Int64 = 5
}
