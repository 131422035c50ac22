extension JSONValue {
  /// This document with an RFC 7396 merge patch applied: members of `patch` replace, `null` removes, objects merge.
  public func merged(with patch: JSONValue) -> JSONValue {
    guard case .object(let changes) = patch else { return patch }
    var members: [JSONObject.Member] = []
    if case .object(let object) = self { members = object.members }
    for change in changes.members {
      // By bytes: keys that differ in their normal form alone are different keys.
      let index = members.firstIndex { $0.key.utf8.elementsEqual(change.key.utf8) }
      if change.value.isNull {
        if let index { members.remove(at: index) }
        continue
      }
      let old = index.map { members[$0].value } ?? .null
      let new = JSONObject.Member(key: change.key, value: old.merged(with: change.value))
      if let index { members[index] = new } else { members.append(new) }
    }
    return .object(JSONObject(members: members.map { JSONObject.Member(key: $0.key, value: $0.value) }))
  }
}
