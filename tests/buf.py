"""The command `buf`, as installed with the tests."""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from tests.support import PATIENCE_SECONDS


class Result(NamedTuple):
    """Output and exit status of a run."""

    status: int
    output: str
    errors: str


async def buf(*arguments: str | Path) -> Result:
    search = f"{Path(sys.executable).parent}:{Path(sys.prefix) / 'bin'}"
    command = shutil.which("buf", path=search) or shutil.which("buf")
    assert command, "buf is not installed: it comes with the dependency group `tests`"
    process = await asyncio.create_subprocess_exec(
        command,
        *map(str, arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return Result(process.returncode, output.decode(), errors.decode())
