import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import TaskBridgeCore

/// What a request's head or body took too long to arrive.
struct ReadDeadlineExceeded: Error {}

/// Watches one connection: answers bytes that are no HTTP with a problem, bounds the time a request may take to arrive,
/// and tells the table when the connection is idle.
///
/// Lives on the event loop of its channel alone.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let table: ConnectionTable
  private var entry: ConnectionTable.Entry?
  /// Heads read minus answers ended.
  private var openRequests = 0
  private var isReading = false
  private var deadline: Scheduled<Void>?

  init(table: ConnectionTable) { self.table = table }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { open(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    open(context)
    context.fireChannelActive()
  }

  private func open(_ context: ChannelHandlerContext) {
    if entry == nil { entry = table.add(context.channel) }
  }

  func channelInactive(context: ChannelHandlerContext) {
    leave()
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) { leave() }

  private func leave() {
    deadline?.cancel()
    deadline = nil
    if let entry { table.remove(entry) }
    entry = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head:
      openRequests += 1
      isReading = true
      entry?.setBusy()
    case .body: break
    case .end:
      isReading = false
      deadline?.cancel()
      deadline = nil
    }
    context.fireChannelRead(data)
  }

  /// Only a body that did not arrive together with its head needs a deadline, so most requests never schedule one.
  func channelReadComplete(context: ChannelHandlerContext) {
    if isReading, deadline == nil {
      let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
      deadline = context.eventLoop.scheduleTask(in: .seconds(HTTPLimits.readSeconds)) {
        let (guardian, context) = bound.value
        guardian.deadline = nil
        context.fireErrorCaught(ReadDeadlineExceeded())
      }
    }
    context.fireChannelReadComplete()
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    if case .end = unwrapOutboundIn(data) {
      openRequests -= 1
      if openRequests == 0 { entry?.setIdle() }
    }
    context.write(data, promise: promise)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // While a request is in progress its own handling sees the error and answers.
    guard openRequests == 0 else { return context.fireErrorCaught(error) }
    guard error is HTTPParserError else { return context.close(promise: nil) }
    var answer = Answer(Self.problem(for: error))
    answer.fields[.connection] = "close"
    answer.fields[.contentLength] = String(answer.body.readableBytes)
    context.write(
      wrapOutboundOut(.head(HTTPResponse(status: answer.status, headerFields: answer.fields))), promise: nil)
    context.write(wrapOutboundOut(.body(answer.body)), promise: nil)
    let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    // Closed at once, the unread rest of the input would make the kernel reset the connection and drop the answer.
    context.close(mode: .output, promise: nil)
    context.eventLoop.scheduleTask(in: .seconds(HTTPLimits.lingerSeconds)) { bound.value.close(promise: nil) }
  }

  static func problem(for error: any Error) -> Problem {
    if let error = error as? HTTPParserError, error == .headerOverflow {
      return Problem(
        431, "headers_too_large",
        "the request line and header fields are too large: at most \(HTTPLimits.headerBytesMax) bytes in \(HTTPLimits.headerFieldsMax) fields"
      )
    }
    return Problem(400, "invalid_request", "the request is not valid HTTP/1.1: \(error)")
  }
}
