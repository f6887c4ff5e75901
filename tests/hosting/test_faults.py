"""Defects in the log: in full once, then counted for a while."""

import pytest
from structlog.testing import capture_logs

from hosting.faults import Faults


def fail_here(text: str) -> Exception:
    with pytest.raises(ValueError, match=text) as raised:
        raise ValueError(text)
    return raised.value


def fail_there() -> Exception:
    with pytest.raises(ValueError, match="there") as raised:
        raise ValueError("there")
    return raised.value


def test_repeated_defect_is_counted() -> None:
    now = 0.0
    faults = Faults(lambda: now)
    first, last = fail_here("1"), fail_here("5")
    with capture_logs() as lines:
        for error in (first, fail_here("2"), fail_here("3")):
            faults.log("command failed", error, room_id="room")
        now = 59.0
        faults.log("command failed", fail_here("4"))
        now = 60.0
        faults.log("command failed", last)
    assert lines == [
        {
            "event": "command failed",
            "log_level": "error",
            "exc_info": first,
            "room_id": "room",
        },
        {"event": "command failed", "log_level": "error", "exc_info": last, "repeats": 3},
    ]


def test_other_defect_is_logged_at_once() -> None:
    faults = Faults(lambda: 0.0)
    with capture_logs() as lines:
        for error in (fail_here("here"), fail_there(), ValueError()):
            faults.log("command failed", error)
            faults.log("answer failed", error)
    assert len(lines) == 6
