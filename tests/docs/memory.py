"""How much memory docs/reliability.md says that the processes take."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from tests.docs.markdown import ROOT, section

MIB: Final = 1 << 20
_PAGE: Final = ROOT / "docs/reliability.md"
_TITLE: Final = "How much memory"
_UNITS: Final = {"KiB": 1 << 10, "MiB": MIB}


class ProxyMemory(NamedTuple):
    """The terms for the proxy, in bytes.

    Attributes:
        idle: whatever it does.
        sends: those that are not confirmed.
        inward: of each client, what it sends.
        outward: of each client, what waits for it.
        replay: of each that is under way.
        room: of each room that each client is in.
        user: of each user that each client has sent as.
    """

    idle: int
    sends: int
    inward: int
    outward: int
    replay: int
    room: int
    user: int


class ServerMemory(NamedTuple):
    """The terms for the server, in bytes.

    Attributes:
        idle: whatever it does.
        sends: messages that wait for the disk.
        journal_of_long: what is on disk and not in the table, if it is long.
        journal_of_short: the same, if it is as short as can be.
        caches: those of SQLite.
        proxy: of each, what waits for it.
        inward: of each stream, what it sends.
        outward: of each stream, what waits for it.
        names: of the rooms and users that were sent to and as last.
        room: of each room that each stream is in.
        user: of each user that each stream speaks for.
    """

    idle: int
    sends: int
    journal_of_long: int
    journal_of_short: int
    caches: int
    proxy: int
    inward: int
    outward: int
    names: int
    room: int
    user: int


def stated() -> tuple[ProxyMemory, ServerMemory]:
    """Reads the formulas."""
    lines = section(_PAGE, _TITLE).lines
    [proxy, server] = [
        [round(float(n) * _UNITS[unit]) for n, unit in re.findall(r"([\d.]+) ([KM]iB)", item)]
        for item in re.findall(
            r"^- \*\*(.+?)(?=^- |^$)", "\n".join(lines), re.DOTALL | re.MULTILINE
        )
    ]
    return ProxyMemory(*proxy[: len(ProxyMemory._fields)]), ServerMemory(*server)
