import Foundation
import Testing

/// Rows of the acceptance list that speak of scheduling, order, limits, dependencies, time and dead letters: each is
/// named by the test that shows it, so that none loses its test unnoticed.
@Suite struct AcceptanceTests {
  private static let rows = """
    J17 J25 J26 J27 J28 J29 J30 J31 J32 J33 J34 J35 J36 J37 J38 J39 J40 J43 J44 J45 J46 J47 J48 J49 J50 J51 J52 J55
    T2 T3 T4 T5 T6 T7 T12 T13 T16 T17 T18 T20 T21 T22 T23 T24 T25 T26 T27 T28 T29 T30 T31 T32 T33 T34 T35 T36 T37
    T38 T39 T40 T41 T42 T46 T47 T48 T49 T50 T51 T52 T53 T54 T55 T56 T57 T58 T59 T60 T61 T62 T63 T64 T65 T66 T67 T68
    T69 T70 T71 T72 T73 T74 T75 T79 T80 T81 T82 T83
    P1 P2 P3 P4 P5 P6 P7 P8 P9 P10 P11 P13 P14 P15 P16 P17 P18 P19 P20 P21 P22 P23 P24 P25 P26 P27 P28 P29 P30 P31
    P32 P33 P34 P35 P36 P37 P38 P39 P40
    S1 S2 S3 S4 S5 S6 S7 S8 S9 S10 S11 S12 S14 S15 S16 S17 S18 S19 S20 S21 S22 S24 S25 S26 S27 S28 S29 S30 S31 S32
    S33 S34 S35
    N1 N2 N3 N4 N5 N6 N7 N8 N9 N10 N11 N12 N13 N14 N15 N16 N17 N18 N19 N20 N21 N23 N24 N25 N26 N27 N28 N29 N30 N31
    N32 N33 N34 N35 N36
    """.split(whereSeparator: \.isWhitespace).map(String.init)

  @Test func everyRowIsNamedByATest() throws {
    let tests = TidyTests.root.appendingPathComponent("Tests")
    let paths = FileManager.default.enumerator(atPath: tests.path)?.compactMap { $0 as? String } ?? []
    var named: Set<String> = []
    for path in paths where path.hasSuffix(".swift") || path.hasSuffix(".py") {
      if path.hasSuffix("AcceptanceTests.swift") { continue }
      let text = try String(contentsOf: tests.appendingPathComponent(path), encoding: .utf8)
      named.formUnion(text.split { !$0.isLetter && !$0.isNumber }.map(String.init))
    }
    #expect(Self.rows.filter { !named.contains($0) } == [])
  }
}
