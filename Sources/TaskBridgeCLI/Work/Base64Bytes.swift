import Foundation

/// Bytes written as base64.
enum Base64Bytes {
  static func decoded(_ text: String) -> [UInt8]? { Data(base64Encoded: text).map { Array($0) } }
}
