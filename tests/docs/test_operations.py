"""The commands of the operations guide, run as on a fresh Debian 12.

Runnable commands are run in a folder that stands for the root of the system.
"""

import asyncio
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

import pytest
import yaml

import chat
import chat.__main__
import proxy.__main__
from gen.chat import ChatServiceStub, GetChatHistoryRequest
from hosting.health import command as health
from tests.docs.markdown import PAGES, ROOT, Block, blocks, page_name, section
from tests.support import ChatCall, channel_to, message

PAGE: Final = ROOT / "docs/operations.md"
PREFIX: Final = "/opt/chat/bin/"

# Folders of the system, or of packages named on the page.
FOLDERS: Final = ("etc/systemd/system", "etc/nginx/conf.d", "etc/nginx/snippets")
# Commands of Debian 12, or of the packages named on the page.
PROGRAMS: Final = {
    "apt-get", "install", "ln", "mv", "nginx", "runuser", "systemctl", "systemd-sysusers",
    "for", "do", "break", "done", "chmod", "cp", "openssl", "printf", "rm", "sed",
    "psql", "pg_basebackup", "pg_verifybackup", "pg_dump", "pg_restore",
}  # fmt: skip
CONTAINERS: Final = {"docker", "kubectl", "podman"}

# Commands that need root or a running systemd.
_PRELUDE: Final = """
set -euo pipefail
runuser() { [ "$1 $2 $3" = "-u chat --" ]; shift 3; "$@"; }
apt-get() { :; }
systemctl() { :; }
systemd-sysusers() { :; }
# In a new container: the command of the image; in a running one: nothing.
docker() { while [ $# -gt 0 ] && [ "$1" != chat ]; do shift; done; shift; "$@"; }
"""


def scripts(page: Path = PAGE) -> list[str]:
    return [block.text for block in blocks(page, "sh")]


def commands(text: str) -> list[list[str]]:
    """The simple commands of a script, each as its words."""
    found: list[list[str]] = []
    for line in text.replace("\\\n", "").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("&;|"):
                found.append(command)
                command = []
            else:
                command.append(word)
    return [command for command in found if command and not re.match(r"\w+=", command[0])]


def run(script: str, root: Path) -> None:
    """Runs a script in a folder that stands for the root."""
    script = re.sub(rf"{PREFIX}(\S+)", rf"{Path(sys.executable).parent}/\1", script)
    script = re.sub(r"(?<![\w/.-])/(backups|data|etc|opt|var)/", rf"{root}/\1/", script)
    script = re.sub(r"-o (\w+) -g \1 ", "", script).replace(" python -m ", f" {sys.executable} -m ")
    done = subprocess.run(  # noqa: S603 - the documentation's own
        ["/bin/bash", "-c", _PRELUDE + script], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def holding(title: str, text: str) -> str:
    """The one script of a section that contains a text."""
    [found] = [each.text for each in section(PAGE, title).blocks if text in each.text]
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a system, as far as the commands need one."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "var/backups").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize("script", scripts())
def test_command_and_its_files_are_there(script: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    for program, *words in commands(script):
        if program.startswith("/"):
            name = program.rpartition("/")[2]
            assert re.match(r"/opt/chat(-\$version|-build)?/bin/", program)
            assert name in project or name in {"pip", "python"}
        elif program == "python3":
            # The system's Python has neither the project nor, on Debian, a pip that installs.
            assert words[:2] == ["-m", "venv"]
        else:
            assert program in PROGRAMS | CONTAINERS, program
        for word in words:
            if word.startswith(PREFIX):
                assert word.removeprefix(PREFIX) in project
            # Keys and the copy of the overlay are the operator's own.
            if re.match(r"deploy/(?!keys/|secrets\b|kubernetes/overlays/mine\b)|.*\.lock$", word):
                assert list(ROOT.glob(word)), word


def test_venv_package_is_installed_first() -> None:
    for script in scripts():
        if "-m venv" in script:
            assert script.index("apt-get install --yes python3-venv") < script.index("-m venv")


@pytest.mark.parametrize("block", [*blocks(PAGE, "ini"), *blocks(PAGE, "sh")])
def test_set_variables_are_options(block: Block) -> None:
    known = {
        option.envvar
        for command in (chat.__main__.command, proxy.__main__.command, health)
        for option in command.params
    }
    for name in re.findall(r"^([A-Z_]+)=", block.text, re.MULTILINE):
        assert name in known or name.startswith("OTEL_"), name


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_database_commands_run_as_owner(page: Path) -> None:
    for script in scripts(page):
        for command in commands(script):
            if "/var/lib/chat/chat.db" in command:
                assert command[:3] == ["runuser", "-u", "chat"]


def test_systemd_files_are_installed(root: Path) -> None:
    run(holding("Install with systemd", "systemd-sysusers"), root)
    assert (root / "etc/sysusers.d/chat.conf").is_file()
    assert (root / "etc/chat").is_dir()
    for unit in (ROOT / "deploy/systemd").glob("*.service"):
        installed = root / "etc/systemd/system" / unit.name
        assert installed.read_bytes() == unit.read_bytes()
        assert installed.stat().st_mode & 0o777 == 0o644


def test_alerts_become_a_rule(tmp_path: Path) -> None:
    script = holding("Kubernetes", "rule.yaml").replace("rule.yaml", f"{tmp_path}/rule.yaml")
    run(script.replace("kubectl", ": kubectl"), tmp_path)
    rule = yaml.safe_load((tmp_path / "rule.yaml").read_text("utf-8"))
    alerts = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text("utf-8"))
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == alerts


def test_health_variables_are_described() -> None:
    """Without them a unit with TLS never counts as started."""
    text = PAGE.read_text("utf-8")
    for variable in ("HEALTH_URL", "HEALTH_CA", "HEALTH_CERTIFICATE", "HEALTH_KEY"):
        assert variable in {option.envvar for option in health.params}
        assert f"`{variable}`" in text


def test_nginx_files_are_installed(root: Path) -> None:
    run(holding("Behind nginx", "snippets"), root)
    for folder, number in (("conf.d", 1), ("snippets", 5)):
        assert len(list((root / "etc/nginx" / folder).iterdir())) == number


@pytest.mark.parametrize(
    ("folder", "backups", "commands"),
    [
        ("var/lib/chat", "var/backups/chat", ("chat-backup", "chat-restore")),
        ("data", "backups", ("chat.commands.backup", "chat.commands.restore")),
    ],
    ids=["systemd", "containers"],
)
async def test_backup_and_restore_repeatedly(
    root: Path, folder: str, backups: str, commands: tuple[str, str]
) -> None:
    config = chat.Config(host="127.0.0.1", port=0, database=str(root / folder / "chat.db"))
    back_up, restore = (holding("Backup and restore", command) for command in commands)
    [example] = re.findall(r"chat-20\S+\.db", restore)
    # As the volume is mounted.
    (root / "backups").symlink_to(root / "var/backups/chat")
    for number in (1, 2):
        async with (
            chat.serve(config) as server,
            channel_to(server) as channel,
            ChatCall(ChatServiceStub(channel)) as ada,
        ):
            assert (await ada.post(message("lobby"))).seq == number
            await asyncio.to_thread(run, back_up, root)
            await ada.post(message("lobby", "after the backup"))
        [copy] = (root / backups).glob(f"{example[:5]}*")
        copy = copy.rename(copy.with_name(f"{number}.db"))
        await asyncio.to_thread(run, restore.replace(example, copy.name), root)
        async with chat.serve(config) as server, channel_to(server) as channel:
            request = GetChatHistoryRequest("lobby")
            history = await ChatServiceStub(channel).get_chat_history(request)
            assert len(history.messages) == number
