"""Timestamp and Duration: betterproto's datetime and timedelta on the wire and in JSON.

Python's types have microseconds: finer fractions are truncated.

Source: google/protobuf/timestamp.proto and google/protobuf/duration.proto
"""

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from .errors import DecodeError
from .reading import (
    Spans,
    check_number,
    read_tag,
    read_varint,
    signed32,
    signed64,
    skip,
    too_deep,
    truncated,
)
from .writing import MASK_64, varint

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400
_GIGA: Final = 1_000_000_000
_MEGA: Final = 1_000_000
_EXACT: Final = 1 << 32
"""Below, a float of seconds is exact to the microsecond, which is faster than adding."""

_LONGEST: Final = 22
"""The largest size of a Timestamp without repeated fields, in bytes."""

_REMEMBERED: Final = 256
"""The number of timestamps whose encodings are cached: messages of a batch share one."""

_MAX_DURATION: Final = 315_576_000_000

_RFC_3339: Final = re.compile(
    r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:[0-5]\d)", re.ASCII
)
_SECONDS: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s", re.ASCII)


def _read_pair(data: bytes, spans: Spans, depth: int) -> tuple[int, int]:
    """Reads `seconds` (1) and `nanos` (2) of either type, as unsigned numbers."""
    if depth < 0:
        raise too_deep()
    seconds = nanos = 0
    for pos, end in spans:
        while pos < end:
            tag = data[pos]
            pos += 1
            if tag > 127:
                tag, pos = read_tag(data, pos - 1)
            if tag == 8:
                seconds, pos = read_varint(data, pos)
            elif tag == 16:
                nanos, pos = read_varint(data, pos)
            else:
                check_number(tag)
                pos = skip(data, pos, end, tag, depth)
        if pos != end:
            raise truncated()
    return seconds, nanos


def read_timestamp(data: bytes, spans: Spans, depth: int) -> datetime:
    """Reads a Timestamp as a datetime in UTC.

    Raises:
        DecodeError: It is malformed, or not in the years 1 to 9999.
    """
    if len(spans) == 1 and depth >= _LONGEST:
        pos, end = spans[0]
        if end - pos <= _LONGEST:
            return _read_short_timestamp(data[pos:end])
    return _read_timestamp(data, spans, depth)


@lru_cache(_REMEMBERED)
def _read_short_timestamp(data: bytes) -> datetime:
    try:
        # Input this short cannot nest groups any deeper.
        return _read_timestamp(data, [(0, len(data))], _LONGEST)
    except IndexError:
        raise truncated() from None


def _read_timestamp(data: bytes, spans: Spans, depth: int) -> datetime:
    seconds, nanos = _read_pair(data, spans, depth)
    if seconds < _EXACT and nanos < _GIGA:
        return datetime.fromtimestamp(seconds + nanos // 1000 / _MEGA, UTC)
    nanos = signed32(nanos)
    try:
        if 0 <= nanos < _GIGA:
            return EPOCH + timedelta(0, signed64(seconds), nanos // 1000)
    except OverflowError:
        pass
    raise DecodeError("", "a timestamp is out of range")


def read_duration(data: bytes, spans: Spans, depth: int) -> timedelta:
    """Reads a Duration.

    Raises:
        DecodeError: It is malformed, beyond 10,000 years, or its seconds and nanoseconds have
            different signs.
    """
    seconds, nanos = _read_pair(data, spans, depth)
    seconds, nanos = signed64(seconds), signed32(nanos)
    if abs(seconds) > _MAX_DURATION or abs(nanos) >= _GIGA or seconds * nanos < 0:
        raise DecodeError("", "a duration is out of range")
    micros = nanos // 1000 if nanos >= 0 else -(-nanos // 1000)
    return timedelta(0, seconds, micros)


def write_timestamp(value: datetime) -> bytes:
    """Returns the encoding of a Timestamp.

    Raises:
        ValueError: The datetime has no time zone.
    """
    # Of two equal times in another zone, one may be before the clock change (fold).
    if value.tzinfo is UTC:
        return _write_utc(value)
    if value.tzinfo is None:
        raise _naive()
    return _write_time(value)


@lru_cache(_REMEMBERED)
def _write_utc(value: datetime) -> bytes:
    return _write_time(value)


def _write_time(value: datetime) -> bytes:
    delta = value - EPOCH
    return _write_pair(delta.days * _DAY + delta.seconds, delta.microseconds * 1000)


def write_duration(value: timedelta) -> bytes:
    """Returns the encoding of a Duration.

    Raises:
        ValueError: It is beyond 10,000 years.
    """
    sign, seconds, micros = _parts(value)
    return _write_pair(sign * seconds, sign * micros * 1000)


def _write_pair(seconds: int, nanos: int) -> bytes:
    out = b"\x08" + varint(seconds & MASK_64) if seconds else b""
    return out + b"\x10" + varint(nanos & MASK_64) if nanos else out


def _naive() -> ValueError:
    return ValueError("a datetime needs a time zone to be a Timestamp")


def _parts(value: timedelta) -> tuple[int, int, int]:
    """Returns the sign, whole seconds and microseconds of a Duration."""
    sign = -1 if value < timedelta(0) else 1
    value = abs(value)
    seconds = value.days * _DAY + value.seconds
    if seconds > _MAX_DURATION:
        raise ValueError("a timedelta is too long to be a Duration")
    return sign, seconds, value.microseconds


def parse_timestamp(item: Any) -> datetime:
    """Reads RFC 3339 text, with any offset, as a datetime in UTC.

    Raises:
        DecodeError: It is not such a text, or not in the years 1 to 9999.
    """
    if type(item) is not str:
        raise DecodeError("", "expected a string")
    if not _RFC_3339.fullmatch(item):
        raise DecodeError("", "expected a time such as 2025-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(item).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DecodeError("", "out of range") from None


def format_timestamp(value: datetime) -> str:
    """Returns RFC 3339 text in UTC with 0, 3 or 6 fractional digits.

    Raises:
        ValueError: The datetime has no time zone.
    """
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise _naive()
        value = value.astimezone(UTC)
    return _format_utc(value)


@lru_cache(_REMEMBERED)
def _format_utc(value: datetime) -> str:
    text = value.isoformat(timespec=_digits(value.microsecond))
    return text.removesuffix("+00:00") + "Z"


def _digits(micros: int) -> str:
    if micros == 0:
        return "seconds"
    return "microseconds" if micros % 1000 else "milliseconds"


def parse_duration(item: Any) -> timedelta:
    """Reads a number of seconds followed by the letter s.

    Raises:
        DecodeError: It is not such a text, or beyond 10,000 years.
    """
    if type(item) is not str:
        raise DecodeError("", "expected a string")
    match = _SECONDS.fullmatch(item)
    if match is None:
        raise DecodeError("", "expected a duration such as 1.5s")
    if int(match[2]) > _MAX_DURATION:
        raise DecodeError("", "out of range")
    micros = int((match[3] or "0")[:6].ljust(6, "0"))
    value = timedelta(0, int(match[2]), micros)
    return -value if match[1] else value


def format_duration(value: timedelta) -> str:
    """Returns a number of seconds with 0, 3 or 6 fractional digits, and the letter s.

    Raises:
        ValueError: It is beyond 10,000 years.
    """
    sign, seconds, micros = _parts(value)
    minus = "-" if sign < 0 else ""
    if micros == 0:
        return f"{minus}{seconds}s"
    if micros % 1000:
        return f"{minus}{seconds}.{micros:06d}s"
    return f"{minus}{seconds}.{micros // 1000:03d}s"
