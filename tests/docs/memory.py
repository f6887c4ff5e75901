"""The memory formulas of docs/reliability.md."""

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
        idle: without clients.
        sends: unconfirmed sends.
        inward: input queue of one client.
        outward: output queue of one client.
        replay: one running replay.
        room: one room of one client.
        user: one user that one client has sent as.
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
        idle: without streams.
        sends: messages waiting for the disk.
        journal_of_long: messages on disk but not in the table, if they are long.
        journal_of_short: the same, if they are as short as possible.
        caches: SQLite's page caches.
        proxy: output queue of one proxy.
        inward: input of one stream.
        outward: output queue of one stream.
        names: rooms and users of the latest sends.
        room: one room of one stream.
        user: one user of one stream.
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
