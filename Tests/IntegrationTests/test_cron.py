"""Schedules by the clock, compared with croniter and zoneinfo (N33, N34; bad input 51 and 52).

`taskbridge schedules test` is asked as a user would ask it. The expected times come from the cron library of PyPI and
the time zones of the Python library: neither shares a line with ours. The seed is printed; SEED in the environment
variable CRON_SEED replays another one.
"""

import collections
import datetime
import json
import os
import random
import re
import time
import zoneinfo

import pytest
from croniter import croniter
from croniter.croniter import CroniterBadDateError

from support import cron as rules
from support.bridge import cli
from support.times import moment

UTC = datetime.timezone.utc
SEED = int(os.environ.get("CRON_SEED", "20260329"))
CASES = int(os.environ.get("CRON_CASES", "10000"))
COUNT = 3


def ask(cases):
    """The answers of one process to many cases, in order."""
    done = cli("schedules", "test", "--stdin", input="".join(json.dumps(case) + "\n" for case in cases), seconds=120)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(cases), done.stderr
    return answers


def times(answer):
    return [moment(item["at"]) for item in answer["items"]]


def test_ten_thousand_expressions_agree_with_croniter(capsys):
    """N34. Each case is asked twice: in a random mode, where the stated rules must give the same times exactly; and in
    the mode that comes nearest to croniter with a zone, where each difference must belong to a stated class."""
    begun = time.monotonic()
    chance = random.Random(SEED)
    generator = rules.Generator(chance)
    start, end = datetime.datetime(2020, 1, 1, tzinfo=UTC), datetime.datetime(2035, 12, 31, tzinfo=UTC)
    zones = {name: zoneinfo.ZoneInfo(name) for name in rules.ZONES}
    moves = {name: rules.changes(zone, start, end) for name, zone in zones.items()}
    cases, near = [], []
    for _ in range(CASES):
        name = chance.choice(rules.ZONES)
        expression = generator.expression()
        if moves[name] and chance.random() < 0.6:
            after = chance.choice(moves[name])[0] + datetime.timedelta(seconds=chance.randint(-30 * 3600, 3 * 3600))
        else:
            after = start + datetime.timedelta(seconds=chance.randint(0, int((end - start).total_seconds())))
        base = {"cron": expression, "timezone": name, "after": after.isoformat(), "count": COUNT}
        cases.append(base | {"dst_gap": chance.choice(["run_after", "skip"]),
                             "dst_overlap": chance.choice(["first", "second", "both"])})
        # Rule "every hour": where the hour is `*`, croniter drops the times of a gap; else it runs after.
        gap = "skip" if rules.hour_is_star(expression) else "run_after"
        near.append(base | {"dst_gap": gap, "dst_overlap": "both"})
    answers, near_answers = ask(cases), ask(near)

    counts = collections.Counter()
    for case, answer, near_case, near_answer in zip(cases, answers, near, near_answers):
        zone, after = zones[case["timezone"]], moment(case["after"])
        stated = rules.stated_times(case["cron"], zone, after, COUNT, case["dst_gap"], case["dst_overlap"])
        if "items" not in answer:
            # Rule "never": refused here when read, not found by croniter when asked.
            assert answer["code"] == "invalid_cron" and "never comes" in answer["detail"], (SEED, case, answer)
            assert stated == [], (SEED, case)
            counts["never comes"] += 1
            continue
        assert times(answer) == stated, (SEED, case, answer)
        counts[compare_with_zone(near_case, times(near_answer), zone, after)] += 1

    seconds = time.monotonic() - begun
    with capsys.disabled():
        print(f"\nledger cron: seed {SEED}, {CASES} cases in {len(rules.ZONES)} zones, {seconds:.1f} s: "
              + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    assert counts["equal"] > 0.9 * CASES
    if CASES <= 10_000:
        assert seconds < 60


def compare_with_zone(case, ours, zone, after):
    """The class of the difference between ours and what croniter itself makes of the zone; fails when there is none."""
    stated = rules.stated_times(case["cron"], zone, after, COUNT, case["dst_gap"], "both")
    assert ours == stated, (SEED, case, ours, stated)
    theirs = rules.croniter_times(case["cron"], zone, after, COUNT)
    if ours == theirs:
        return "equal"
    horizon = min(ours[-1], theirs[-1])
    classes = set()
    for at in {*ours} ^ {*theirs}:
        if at > horizon:
            continue
        [*moved] = rules.changes(zone, at - datetime.timedelta(hours=6), at + datetime.timedelta(seconds=1))
        assert moved, (SEED, case, ours, theirs)
        change, before, behind = moved[-1]
        if behind > before and len(case["cron"].split()) == 6 and at - change < datetime.timedelta(minutes=1):
            # Rule "whole minutes": ours runs at the change itself, croniter at the second of the missing time after it.
            classes.add("second kept by croniter")
        elif at in ours and at - change < before - behind:
            # Rule "both": ours always runs the second time, croniter misses it when the expression has a time just
            # before the overlap.
            classes.add("second time missed by croniter")
        else:
            raise AssertionError((SEED, case, ours, theirs))
    [name] = classes
    return name


def test_every_zone_at_every_change_of_ten_years():
    """N33: a job at a local time that is missing or comes twice, for every zone and change of 2026 to 2035."""
    start, end = datetime.datetime(2026, 1, 1, tzinfo=UTC), datetime.datetime(2036, 1, 1, tzinfo=UTC)
    names = sorted(name for name in zoneinfo.available_timezones() if re.match(r"[A-Z]", name))
    assert len(names) > 400
    cases, expected = [], []
    for name in names:
        zone = zoneinfo.ZoneInfo(name)
        for at, before, after in rules.changes(zone, start, end):
            # The first local time that is missing or comes twice, and the moments at which the clock could show it.
            local = (at + min(before, after)).replace(tzinfo=None)
            base = {"cron": f"{local.minute} {local.hour} {local.day} {local.month} *", "timezone": name, "count": 1,
                    "after": (at - datetime.timedelta(hours=20)).isoformat()}
            if after > before:
                answers = {"run_after": at, "skip": None}
                cases += [base | {"dst_gap": gap} for gap in answers]
            else:
                answers = {"first": at - (before - after), "second": at}
                cases += [base | {"dst_overlap": overlap} for overlap in answers]
            expected += answers.values()

    assert len(cases) > 2_000
    for case, answer, at in zip(cases, ask(cases), expected):
        [item] = answer["items"]
        if at is None:
            assert moment(item["at"]) - moment(case["after"]) > datetime.timedelta(days=300), (case, item)
            assert "skipped" in item["note"], (case, item)
        else:
            assert moment(item["at"]) == at, (case, item)
            assert item["note"].startswith("gap: " if "dst_gap" in case else "overlap: "), (case, item)


def test_the_rule_after_the_table_goes_on():
    """Past 2037 the files have a rule only; both readers of it agree."""
    chance = random.Random(SEED)
    cases = []
    for name in rules.ZONES:
        moves = rules.changes(zoneinfo.ZoneInfo(name), datetime.datetime(2090, 1, 1, tzinfo=UTC),
                              datetime.datetime(2092, 1, 1, tzinfo=UTC))
        for at in [move[0] for move in moves] or [datetime.datetime(2090, 6, 1, tzinfo=UTC)]:
            cases.append({"cron": "*/15 0-4 * * *", "timezone": name, "count": 30, "dst_overlap": "both",
                          "after": (at - datetime.timedelta(seconds=chance.randint(0, 86_400))).isoformat()})
    for case, answer in zip(cases, ask(cases)):
        zone = zoneinfo.ZoneInfo(case["timezone"])
        assert times(answer) == rules.stated_times(
            case["cron"], zone, moment(case["after"]), 30, "run_after", "both"), case


@pytest.mark.parametrize("ours, theirs", [
    # A range that runs backwards: refused here, taken around the end there.
    ("0 22-2 * * *", [22, 23, 0, 1, 2]), ("0 6-3/3 * * *", [6, 9, 12, 15, 18, 21, 0, 3]),
])
def test_backward_ranges_are_refused(ours, theirs):
    done = cli("schedules", "test", ours, "--output", "json")

    assert done.returncode == 64 and json.loads(done.stdout)["code"] == "invalid_cron"
    assert sorted(croniter.expand(ours)[0][1]) == sorted(theirs)


def test_equal_ends_are_one_value():
    """Here `3-3` is 3, there it is the whole field."""
    [answer] = ask([{"cron": "0 3-3 * * *", "after": "2026-01-01T00:00:00Z", "count": 2}])

    assert [item["at"][:16] for item in answer["items"]] == ["2026-01-01T03:00", "2026-01-02T03:00"]
    assert croniter.expand("0 3-3 * * *")[0][1] == ["*"]


@pytest.mark.parametrize("expression, reason", [
    ("61 * * * *", "minute"), ("* * * *", "4 fields"), ("0 0 30 2 *", "never comes"), ("*/90 * * * *", "step"),
    ("0 0 L * *", "not part of this grammar"), ("@reboot", "it names no time"), ("", "0 fields")])
def test_a_bad_expression_is_refused_with_its_field(expression, reason):
    """Bad input 51."""
    done = cli("schedules", "test", expression, "--output", "json")
    problem = json.loads(done.stdout)

    assert done.returncode == 64 and problem["code"] == "invalid_cron" and reason in problem["detail"]
    assert cli("schedules", "test", expression).stdout == ""


@pytest.mark.parametrize("arguments, reason", [
    (["@daily", "--timezone", "Europe/Berln"], "did you mean Europe/Berlin?"),
    (["@daily", "--timezone", "../../etc/passwd"], "no time zone"),
    (["@daily", "--after", "2026-01-01T00:00:00"], "zone"), (["@daily", "--count", "0"], "1...1000"),
    (["@daily", "--dst-gap", "maybe"], "run_after"), ([], "--stdin"), (["@daily", "--stdin"], "--stdin")])
def test_a_bad_option_is_refused(arguments, reason):
    done = cli("schedules", "test", *arguments)

    assert done.returncode == 64 and reason in done.stderr, done


def test_daylight_saving_is_explained():
    """N33, N34: the job at 02:30 in Berlin."""
    def items(*arguments):
        done = cli("schedules", "test", "30 2 * * *", "--timezone", "Europe/Berlin", "--count", "2", "--output", "json",
                   *arguments)
        assert done.returncode == 0, done
        return json.loads(done.stdout)["items"]

    spring, autumn = ("--after", "2026-03-28T12:00:00Z"), ("--after", "2026-10-24T12:00:00Z")
    assert items(*spring) == [
        {"at": "2026-03-29T01:00:00.000Z", "local": "2026-03-29T03:00:00+02:00",
         "note": "gap: 02:30 does not exist, runs after"},
        {"at": "2026-03-30T00:30:00.000Z", "local": "2026-03-30T02:30:00+02:00", "note": None}]
    assert items(*spring, "--dst-gap", "skip")[0] == {
        "at": "2026-03-30T00:30:00.000Z", "local": "2026-03-30T02:30:00+02:00",
        "note": "gap: 2026-03-29 02:30 does not exist, skipped"}
    assert [item["local"] for item in items(*autumn)] == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert items(*autumn, "--dst-overlap", "second")[0]["local"] == "2026-10-25T02:30:00+01:00"
    assert [item["at"] for item in items(*autumn, "--dst-overlap", "both")] == [
        "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"]


def test_times_are_printed_for_people_and_programs():
    table = cli("schedules", "test", "@yearly", "--after", "2026-06-01T00:00:00Z", "--count", "2")
    lines = cli("schedules", "test", "@yearly", "--after", "2026-06-01T00:00:00Z", "--count", "2", "--output", "jsonl")

    assert [line.split()[0] for line in table.stdout.splitlines()] == [
        "AT", "2027-01-01T00:00:00.000Z", "2028-01-01T00:00:00.000Z"]
    assert [json.loads(line)["local"] for line in lines.stdout.splitlines()] == [
        "2027-01-01T00:00:00+00:00", "2028-01-01T00:00:00+00:00"]


def test_lines_that_are_wrong_are_answered_in_their_place():
    done = cli("schedules", "test", "--stdin", input='{"cron":"@daily","count":1}\n{bad\n[]\n'
               '{"cron":"@daily","timezone":"Mars/Olympus"}\n{"cron":"@daily","counts":1}\n{"every_seconds":90,"count":1,'
               '"after":"2026-01-01T00:00:00Z"}\n')
    answers = [json.loads(line) for line in done.stdout.splitlines()]

    assert done.returncode == 1
    assert [answer.get("code") for answer in answers] == [
        None, "invalid_json", "invalid_field", "unknown_timezone", "unknown_field", None]
    assert answers[5]["items"][0]["at"] == "2026-01-01T00:01:30.000Z"
