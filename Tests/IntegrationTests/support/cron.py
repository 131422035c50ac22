"""Cron expressions, instants and the rules of schedules, for the comparison with croniter and Python's own zoneinfo."""

import datetime
import re
from zoneinfo import ZoneInfo

from croniter import croniter
from croniter.croniter import CroniterBadDateError

UTC = datetime.timezone.utc
SECOND = datetime.timedelta(seconds=1)

# Odd rules: half hours (Lord Howe), two hours (Troll), 45 minutes off (Chatham, Kathmandu), saving in winter (Dublin,
# Casablanca), Ramadan (Casablanca, Gaza), midnight (Cairo, Beirut, Santiago, Havana, Asuncion), changes in the evening
# of the day before (Nuuk), rules given up (Tehran, Mexico, Asuncion), offsets moved for good (Volgograd, Almaty, Juba,
# Whitehorse), by three hours and often (Casey), far from UTC (Apia, Kiritimati, Marquesas).
ZONES = [
    "UTC", "Europe/Berlin", "Europe/Dublin", "Europe/Volgograd", "America/New_York", "America/Nuuk", "America/Santiago",
    "America/Havana", "America/Asuncion", "America/Mexico_City", "America/Whitehorse", "Australia/Lord_Howe",
    "Antarctica/Troll", "Antarctica/Casey", "Africa/Casablanca", "Africa/Cairo", "Africa/Juba", "Asia/Gaza",
    "Asia/Beirut", "Asia/Jerusalem", "Asia/Tehran", "Asia/Almaty", "Asia/Kathmandu", "Pacific/Chatham", "Pacific/Apia",
    "Pacific/Norfolk", "Pacific/Kiritimati", "Pacific/Marquesas",
]

MONTHS = ["JAN", "feb", "Mar", "APR", "may", "JUN", "jul", "AUG", "SEP", "oct", "NOV", "dec"]
DAYS = ["SUN", "mon", "TUE", "Wed", "thu", "FRI", "sat"]


def changes(zone, start, end):
    """The instants at which the offset of a zone changes, each with the offsets before and after."""
    found = []
    at, step = start, datetime.timedelta(hours=12)
    offset = at.astimezone(zone).utcoffset()
    while at < end:
        following = (at + step).astimezone(zone).utcoffset()
        if following != offset:
            low, high = at, at + step
            while high - low > SECOND:
                middle = low + (high - low) // 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == offset else (low, middle)
            found.append((high, offset, following))
        at, offset = at + step, following
    return found


class Generator:
    """Expressions of the grammar that TaskBridge and croniter share, from a seeded `random.Random`."""

    def __init__(self, random):
        self.random = random

    def expression(self):
        random = self.random
        if random.random() < 0.02:
            return random.choice(["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"])
        fields = [self.minute(), self.hour(), self.day(), self.month(), self.weekday()]
        if random.random() < 0.2:
            # Few seconds: the walk over naive times that checks them would take long.
            fields.insert(0, random.choice([str(random.randint(0, 59)), f"{random.randint(0, 29)},{random.randint(30, 59)}",
                                            f"*/{random.choice([20, 30])}", f"{random.randint(0, 20)}-50/30"]))
        return random.choice([" ", " ", " ", "  ", "\t"]).join(fields)

    def minute(self):
        return self.field(0, 59, star=0.15)

    def hour(self):
        # Where the clocks change, mostly.
        if self.random.random() < 0.5:
            return self.field(0, 4, star=0.1, top=23)
        return self.field(0, 23, star=0.4)

    def day(self):
        return self.field(1, 31, star=0.6)

    def month(self):
        return self.field(1, 12, star=0.6, names=MONTHS)

    def weekday(self):
        return self.field(0, 7, star=0.6, names=DAYS, top=6)

    def field(self, low, high, star, names=None, top=None):
        random = self.random
        if random.random() < star:
            return "*"
        parts = [self.part(low, high, names, top or high) for _ in range(random.choice([1, 1, 1, 2, 3]))]
        return ",".join(parts)

    def part(self, low, high, names, top):
        random = self.random
        kind = random.random()
        step = random.randint(1, max(2, min(top, high - low)))

        def word(value):
            named = names and value - low < len(names) and random.random() < 0.4
            return names[value - low] if named else str(value)

        if kind < 0.45:
            return word(random.randint(low, high))
        if kind < 0.6:
            return f"*/{step}"
        if kind < 0.68:
            return f"{random.randint(low, top)}/{step}"
        first = random.randint(low, high)
        last = random.randint(first, high)
        text = f"{word(first)}-{word(last)}"
        # Sunday at the end of a range is 7.
        if names is DAYS and last == 7 and random.random() < 0.5:
            text = f"{word(first)}-sun" if first > 0 else text
        return text if kind < 0.85 else f"{text}/{step}"


def for_croniter(expression):
    """The same schedule in the words of croniter.

    Rule "equal ends": `a-a` is `a` alone for TaskBridge and the whole field for croniter.
    Rule "all days": a day field that does not start with `*` but names every day makes every day match, as any field
    that does not start with `*`; croniter takes it for `*` when the other day field has a `*` anywhere (`1-9,*/28`).
    Nothing else is rewritten.
    """
    def alone(match):
        start, end = number(match.group(2)), number(match.group(3))
        # Sunday at the end of a range is 7.
        same = start == end or (match.group(3).lower() == "sun" and start == 7)
        return match.group(1) + match.group(2) if same else match.group(0)

    def number(word):
        names = {name.lower(): value for value, name in [*enumerate(DAYS), *enumerate(MONTHS, 1)]}
        return names[word.lower()] if word.lower() in names else int(word)

    expression = re.sub(r"(^|[\s,])(\w+)-(\w+)(?:/\d+)?(?=[\s,]|$)", alone, expression)
    fields = expression.split()
    if len(fields) >= 5 and not fields[-3].startswith("*") and not fields[-1].startswith("*"):
        days = croniter.expand(" ".join(["0", "0", fields[-3], "*", "*"]))[0][2]
        weekdays = croniter.expand(" ".join(["0", "0", "*", "*", fields[-1]]))[0][4]
        if days == ["*"] or weekdays == ["*"]:
            fields[-3] = fields[-1] = "*"
    return " ".join(fields)


def options(expression):
    """How croniter is told what TaskBridge always does.

    Rule "seconds first": a sixth field is the second and comes first. Rule "Vixie days": a day field that starts with
    `*` means both day fields must match.
    """
    return {"second_at_beginning": len(expression.split()) == 6, "implement_cron_bug": True}


def hour_is_star(expression):
    """Whether croniter sees every hour in the hour field."""
    return croniter.expand(for_croniter(expression), second_at_beginning=len(expression.split()) == 6)[0][1] == ["*"]


def croniter_times(expression, zone, after, count):
    """What croniter itself makes of a zone."""
    cron = croniter(for_croniter(expression), after.astimezone(zone), ret_type=datetime.datetime, **options(expression))
    return [cron.get_next().astimezone(UTC) for _ in range(count)]


def stated_times(expression, zone, after, count, gap, overlap):
    """The rules of docs/schedules.md: the local times are croniter's, on a clock without zone; the zone is zoneinfo's.

    Returns fewer than `count` when croniter finds no more.
    """
    cron = croniter(for_croniter(expression), naive(after, zone) - spread(after, zone) - SECOND,
                    ret_type=datetime.datetime, **options(expression))
    found = []
    while True:
        try:
            time = cron.get_next()
        except CroniterBadDateError:
            return found[:count]
        # A time that is later on the clock may come earlier only where the clocks are moved.
        if len(found) >= count and time - naive(found[count - 1], zone) > spread(found[count - 1], zone):
            return found[:count]
        found = sorted({*found, *(at for at in instants(time, zone, gap, overlap) if at > after)})


def naive(at, zone):
    """What the clocks show."""
    return at.astimezone(zone).replace(tzinfo=None)


def spread(at, zone):
    """By how much the clocks are moved around a moment."""
    offsets = [(at + hours * 3600 * SECOND).astimezone(zone).utcoffset() for hours in (-30, -15, 0, 15, 30)]
    return max(offsets) - min(offsets)


def instants(time, zone, gap, overlap):
    """When a schedule runs for one local time."""
    first, second = (time.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return [first]
    if first < second:
        return {"first": [first], "second": [second], "both": [first, second]}[overlap]
    # Read with the offset before the change the time lies after it, and the other way round.
    if gap == "skip":
        return []
    [(change, _, _)] = changes(zone, second - SECOND, first + SECOND)[:1]
    return [change]
