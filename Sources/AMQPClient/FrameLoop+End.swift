import CRabbitMQ
import Logging

extension FrameLoop {
  /// The broker has closed the channel, because of a request, a publish or an acknowledgement. Everything on it is gone;
  /// the connection goes on with a new one.
  func channelClosed(_ method: amqp_channel_close_t) throws(AMQPError) {
    let what =
      pending.flatMap { $0.isInternal ? nil : "cannot \($0.command.request.summary)" }
      ?? "the broker closed the channel"
    let error = AMQPError(
      .channelClosed, code: Int(method.reply_code), "\(what): \(WireDecoder.string(method.reply_text))")
    var answer = amqp_channel_close_ok_t()
    try checkSent(
      amqp_send_method(handle.state, AMQPHandle.channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &answer), "answer channel.close")
    isChannelOpen = false
    isFlowStopped = false
    assembly = nil
    ledger.channelClosed()
    abandonPublishes(error)
    for consumer in consumers {
      consumer.deliveries.append(consumer.batch)
      consumer.deliveries.finish(error)
    }
    consumers = []
    flush()
    finishRequest(.failure(error))
    commands.removeAll { $0.request == .selectConfirms }
    if confirmMode != .off {
      confirmMode = .selecting
      commands.insert(Command(request: .selectConfirms, answer: Answer<Reply>()), at: 0)
    }
    commands.insert(Command(request: .openChannel, answer: Answer<Reply>()), at: 0)
    try startRequests()
    line.stateContinuation.yield(.channelReopened(error))
  }

  /// The connection has ended, with an error or without. Reports everything that is still open, then lets the waiting go.
  func end(_ error: AMQPError?) {
    logger.debug("connection ended", metadata: ["reason": "\(error?.description ?? "closed")"])
    let reason = error ?? AMQPError(.notOpen, "the connection was closed before the broker confirmed")
    abandonPublishes(reason)
    let left = line.mailbox.finish(error)
    for publishes in left.publishes {
      for (id, _) in publishes.messages {
        report(.unknown(reason), to: publishes.result.map(PublishDestination.promise) ?? .outcomes(id: id))
      }
    }
    flush()
    line.outcomes.finish(nil)
    for consumer in consumers { consumer.deliveries.finish(error) }
    consumers = []
    finishRequest(.failure(reason))
    for command in commands + left.commands {
      command.answer.fulfil(.failure(reason))
      command.deliveries?.finish(reason)
    }
    commands = []
    line.closed.fulfil(error)
    line.stateContinuation.yield(.closed(error))
    line.stateContinuation.finish()
  }
}
