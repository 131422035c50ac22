"""Times as the bridge writes them."""

import datetime


def moment(text):
    """An RFC 3339 time as an aware datetime."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds(text):
    """The same as seconds since 1970."""
    return moment(text).timestamp()
