import Foundation

/// The shared libraries this process has really loaded, which may be newer than those it was built with.
enum LoadedLibrary {
  /// A C function by its name; nil when no loaded library has it.
  /// - Parameter type: its exact `@convention(c)` type, which nothing can check.
  static func function<Function>(_ name: String, as type: Function.Type) -> Function? {
    guard let program = dlopen(nil, RTLD_NOW), let symbol = dlsym(program, name) else { return nil }
    return unsafeBitCast(symbol, to: type)
  }

  /// What a C function without parameters says of its library's version, such as `sqlite3_libversion`.
  static func version(_ name: String) -> String? {
    typealias Version = @convention(c) () -> UnsafePointer<CChar>?
    return function(name, as: Version.self)?().map { String(cString: $0) }
  }
}
