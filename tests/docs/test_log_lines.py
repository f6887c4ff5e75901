"""The log lines shown in the documentation are logged."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.docs.markdown import ROOT, section
from tests.kit.processes import both_logged

KINDS: Final = {"readable": "text", "json": "ndjson"}
# Variable parts of a line: name and pattern.
_VARIABLE: Final = {
    "timestamp": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "connection": r"[0-9a-f]{6}-1",
    "peer": r"127\.0\.0\.1(:\d+)?",
    "seconds": r"\d+\.\d+(e-\d+)?",
    "call": r"\d+",
}


def read(line: str, form: str) -> list[tuple[str, Any]]:
    """The keys and values of a line, in order, without variable parts."""
    if form == "json":
        pairs = list(json.loads(line).items())
    else:
        pairs = [tuple(each.split("=", 1)) for each in shlex.split(line)]
    return [
        (key, key if key in _VARIABLE and re.fullmatch(_VARIABLE[key], str(value)) else value)
        for key, value in pairs
    ]


@pytest.mark.parametrize("form", KINDS)
async def test_connection_log_lines_are_real(tmp_path: Path, form: str) -> None:
    async with (
        both_logged(tmp_path, "--log-level", "debug", "--log-format", form) as (_, door),
        aiohttp.ClientSession() as session,
        session.ws_connect(door.address) as client,
    ):
        await client.send_json({"get_user": {"user_id": "ada"}, "request_id": "7"})
        assert "error" in await client.receive_json()
    logs = section(ROOT / "docs/operations.md", "Logs and traces")
    [shown] = [block.text for block in logs.blocks if block.info == KINDS[form]]
    log = "".join((tmp_path / name).read_text("utf-8") for name in ("chat.log", "proxy.log"))
    happened = [read(line, form) for line in log.splitlines()]
    for line in shown.splitlines():
        assert read(line, form) in happened
