"""`nox -s serve`, as a newcomer runs it: once with a network, then without one."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path

import pytest

from tests.deploy.nginx import DEPLOY
from tests.network import missing

ROOT = DEPLOY.parent
PROJECT = ("chat", "codec", "hosting", "gen", "proxy", "pyproject.toml", "noxfile.py")
TEXTS = ("README.md", "LICENSE")

# The first start makes an environment and installs everything.
pytestmark = pytest.mark.timeout(600)


def copy_project(folder: Path) -> None:
    for name in (*PROJECT, *TEXTS):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)


async def start(folder: Path, **environment: str) -> Process:
    """Runs the session on free ports; all output goes into one pipe."""
    ports = ("--chat-port", "0", "--proxy-port", "0")
    metrics = ("--chat-metrics-port", "off", "--proxy-metrics-port", "off")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("NOX", "PYTEST", "CI"))}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "nox", "-s", "serve", "--", *ports, *metrics,
        cwd=folder, stdin=DEVNULL, stdout=PIPE, stderr=subprocess.STDOUT,
        env={**inherited, **environment},
    )  # fmt: skip


async def serve_once(folder: Path, **environment: str) -> str:
    """Starts the session, stops it when both are ready, and returns its output."""
    process = await start(folder, **environment)
    assert process.stdout is not None
    printed = ""
    while "chat proxy ready" not in printed and (line := await process.stdout.readline()):
        printed += line.decode()
    if process.returncode is None:
        process.send_signal(signal.SIGINT)
    printed += (await process.communicate())[0].decode()
    return printed


async def test_serve_session_starts_offline(tmp_path: Path, unused_tcp_port: int) -> None:
    copy_project(tmp_path)
    printed = await serve_once(tmp_path)
    if "chat proxy ready" not in printed:
        missing(f"nothing could be installed, perhaps without a network: {printed[-2000:]}")
    assert "install" in printed

    nowhere = f"http://127.0.0.1:{unused_tcp_port}/"
    offline = {
        "PIP_INDEX_URL": nowhere,
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
        "UV_INDEX_URL": nowhere,
        "UV_OFFLINE": "1",
    }
    printed = await serve_once(tmp_path, **offline)
    assert "chat proxy ready" in printed
    assert "pip install" not in printed

    # Requirements have changed and cannot be fetched: the old environment still works.
    project = tmp_path / "pyproject.toml"
    text = project.read_text(encoding="utf-8")
    project.write_text(text.replace('"aiohttp>', '"a-package-of-nobody",\n    "aiohttp>'))
    printed = await serve_once(tmp_path, **offline)
    assert "could not install what has changed: going on with what was there" in printed
    assert "chat proxy ready" in printed
