"""The project as others install it: a wheel, in a fresh environment and an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.deploy.nginx import DEPLOY
from tests.docs.markdown import blocks
from tests.network import fetch

ROOT = DEPLOY.parent
PACKAGES = ("chat", "codec", "hosting", "gen", "proxy")

# Code as in an application, and mypy's type of each expression.
PROGRAM = """
from grpclib.client import Channel

import chat
import codec
import proxy
from hosting.rate_limits import Rates
from gen.chat import ChatMessage, ChatServiceStub, GetUserRequest

async def main(channel: Channel) -> None:
    config = chat.Config(port=0, rates=Rates(sends=1.0, joins=1.0, calls=1.0))
    async with chat.serve(config) as server:
        reveal_type(server.address)
        reveal_type(proxy.create_app(proxy.Config(upstream=server.address)))
        reveal_type(codec.decode(ChatMessage, b"").seq)
        reveal_type((await ChatServiceStub(channel).get_user(GetUserRequest())).user)
    chat.Config(port="0")
"""
REVEALED = ("str", "aiohttp.web_app.Application", "int", "gen.chat.User")

# To fetch and to install it all may take a while.
pytestmark = pytest.mark.timeout(600)


def test_wheel_in_fresh_environment(tmp_path: Path) -> None:
    """One test, as each worker process would install the wheel again."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)  # noqa: S603
    python = tmp_path / "venv/bin/python"
    pip = (str(python), "-m", "pip")
    fetch(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", ".", str(ROOT), cwd=tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    check_packages(wheel)
    # Only what is imported need be compiled.
    others = ("pytest", "pytest-asyncio", "mypy", "python-daemon")
    fetch(*pip, "install", "--quiet", "--no-compile", str(wheel), *others, cwd=tmp_path)
    check_neighbour(python, tmp_path)
    check_types(python, tmp_path / "application")
    check_suite(python, tmp_path / "suite")


def run(python: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST", "COV"))
    }
    return subprocess.run(  # noqa: S603 - no input of others
        [str(python), "-m", *arguments],
        cwd=cwd, env=inherited, capture_output=True, text=True, check=False,
    )  # fmt: skip


def check_packages(wheel: Path) -> None:
    """Checks that each package is marked as typed, and that there is no other; and the SQL."""
    names = set(ZipFile(wheel).namelist())
    assert {str(file.relative_to(ROOT)) for file in (ROOT / "chat").rglob("*.sql")} <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    tops = {name.partition("/")[0] for name in names if not name.partition("/")[0].endswith("info")}
    assert tops == set(PACKAGES)


def check_neighbour(python: Path, folder: Path) -> None:
    """Checks that python-daemon, which imports as `daemon`, works beside the wheel."""
    program = folder / "neighbour.py"
    program.write_text(
        f"import daemon, daemon.pidfile, {', '.join(PACKAGES)}\n"
        "import chat.__main__, proxy.__main__, hosting.run_both\n"
        "print(daemon.DaemonContext(detach_process=False).is_open, hosting.__name__)\n"
    )
    done = run(python, "neighbour", cwd=folder)
    assert (done.returncode, done.stdout) == (0, "False hosting\n"), done.stderr


def check_types(python: Path, folder: Path) -> None:
    """Checks with mypy from elsewhere that the types are those of the code."""
    folder.mkdir()
    (folder / "application.py").write_text(PROGRAM)
    done = run(python, "mypy", "--strict", "application.py", cwd=folder)
    *lines, summary = done.stdout.splitlines()
    revealed = [line for line in lines if "Revealed type" in line]
    assert len(revealed) == len(REVEALED), done.stdout
    for line, expected in zip(revealed, REVEALED, strict=True):
        assert re.search(rf"\b{re.escape(expected)}\"", line), line
    errors = [line for line in lines if "error:" in line]
    assert len(errors) == 1, done.stdout
    assert 'Argument "port" to "Config" has incompatible type "str"; expected "int"' in errors[0]
    assert summary.startswith("Found 1 error")


def check_suite(python: Path, folder: Path) -> None:
    """Checks that the suite in the README passes in an empty folder."""
    folder.mkdir()
    [suite] = blocks(ROOT / "README.md", "python")
    (folder / "test_chat.py").write_text(suite.text + "\n")
    done = run(python, "pytest", "-q", cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout
