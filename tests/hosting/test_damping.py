"""The log has a bounded number of lines of the same event."""

import logging

import pytest

from hosting.damping import AT_ONCE, Damper
from tests.clock import Clock
from tests.kit.processes import run_program

PROGRAM = """
import logging
from hosting.logs import configure_logs, get_logger
configure_logs("debug")
log = get_logger("chat.program")
for number in range(1000):
    log.info("told", number=number)
    log.debug("asked for", number=number)
    try:
        {}["missing"]
    except KeyError:
        log.exception("failed")
    logging.getLogger("aiohttp.server").error("of a library: %s", number)
log.info("told once")
"""


def line(message: object, level: int = logging.INFO, name: str = "proxy") -> logging.LogRecord:
    return logging.LogRecord(name, level, __file__, 1, message, (), None)


@pytest.mark.parametrize("message", ["same", {"event": "same", "number": 1}], ids=type)
def test_damper_counts_left_out_lines(message: object) -> None:
    clock = Clock()
    damper = Damper(clock)

    def said() -> logging.LogRecord:
        return line(dict(message) if isinstance(message, dict) else message)

    assert sum(damper.filter(said()) for _ in range(500)) == AT_ONCE
    # Other events, loggers and levels are counted apart.
    others = [line("other"), line("same", logging.ERROR), line("same", name="chat")]
    assert all(damper.filter(other) for other in others)
    clock.now += 1.0
    later = said()
    assert damper.filter(later)
    assert not damper.filter(said())
    told = later.msg["left_out"] if isinstance(later.msg, dict) else later.getMessage()
    assert told in (400, "same (left out: 400)")


def test_damper_passes_debug_lines() -> None:
    damper = Damper(Clock())
    assert all(damper.filter(line("same", logging.DEBUG)) for _ in range(500))


def test_process_damps_its_log() -> None:
    lines = run_program(PROGRAM)[1].splitlines()
    for event in ("event=told number", "event=failed", "of a library"):
        assert AT_ONCE <= sum(event in line for line in lines) <= 2 * AT_ONCE
    assert sum('"asked for"' in line for line in lines) == 1000
    assert sum('"told once"' in line for line in lines) == 1
