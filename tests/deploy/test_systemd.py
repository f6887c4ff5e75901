"""The units in `deploy/`, as judged by systemd's own tools."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Final

import pytest

import chat
import proxy
from hosting.health import split
from tests.deploy.nginx import DEPLOY, tool

UNITS: Final = sorted((DEPLOY / "systemd").glob("*.service"))
PROXY, PROXIES, SERVER, SERVERS = UNITS
TEMPLATES: Final = {PROXIES: PROXY, SERVERS: SERVER}
INSTANCES: Final = {each: each.name.replace("@", "@1") for each in TEMPLATES}
OPERATIONS: Final = DEPLOY.parent / "docs/operations.md"
PREFIX: Final = "/opt/chat/bin/"

# Out of ten. The rest is the network, which they exist for.
EXPOSURE: Final = 1.5


def run(*command: str) -> str:
    """Runs a command that must succeed; returns its output."""
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - ours
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def values(unit: Path, name: str) -> list[str]:
    """All values of a setting."""
    return re.findall(rf"^{name}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """The units, with their programs replaced by existing ones."""
    for unit in UNITS:
        text = re.sub(rf"{PREFIX}\S+", "/bin/true", unit.read_text("utf-8"))
        (tmp_path / unit.name).write_text(text)
    # A template is no unit; an instance of it is.
    for template, name in INSTANCES.items():
        (tmp_path / name).symlink_to(tmp_path / template.name)
    return [str(tmp_path / INSTANCES.get(unit, unit.name)) for unit in UNITS]


def test_units_are_valid(units: list[str]) -> None:
    assert run(tool("systemd-analyze"), "verify", "--man=no", *units) == ""


def test_units_have_few_privileges(units: list[str]) -> None:
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    for unit in units:
        found = run(tool("systemd-analyze"), "security", "--offline=true", threshold,
                    "--json=short", unit)  # fmt: skip
        assert json.loads(found)


def test_units_can_read_process_metrics() -> None:
    """``ProcSubset=pid`` would hide /proc/stat, which all process metrics need."""
    for unit in UNITS:
        assert values(unit, "ProtectProc") == ["invisible"]
        assert values(unit, "ProcSubset") in ([], ["all"])


def test_exposure_matches_the_docs(units: list[str]) -> None:
    documented = re.findall(r"rates them\s(\d\.\d) of 10", OPERATIONS.read_text("utf-8"))
    for unit in units:
        found = run(tool("systemd-analyze"), "security", "--offline=true", unit)
        assert re.findall(r"exposure level for \S+: (\d\.\d)", found) == documented


@pytest.fixture
def accounts(tmp_path: Path) -> dict[str, list[str]]:
    """The lines of the accounts, by name."""
    (tmp_path / "etc").mkdir()
    run(tool("systemd-sysusers"), f"--root={tmp_path}", str(DEPLOY / "systemd/chat.sysusers"))
    lines = (tmp_path / "etc/passwd").read_text().splitlines()
    return {name: rest for name, *rest in (line.split(":") for line in lines)}


def test_accounts_can_be_created(accounts: dict[str, list[str]]) -> None:
    assert accounts.keys() == {"chat", "chat-proxy"}
    for _, uid, *_, shell in accounts.values():
        assert int(uid) < 1000
        assert shell.endswith("nologin")
    assert accounts["chat"][-2] == "/var/lib/chat"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_use_permanent_accounts(unit: Path, accounts: dict[str, list[str]]) -> None:
    """A dynamic user cannot own a key file."""
    assert values(unit, "DynamicUser") == []
    [user], [group] = values(unit, "User"), values(unit, "Group")
    assert user == group
    assert user in accounts


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_commands_are_installed(unit: Path) -> None:
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text("utf-8"))
    for setting in ("ExecStart", "ExecStartPost"):
        [command] = values(unit, setting)
        assert command.split()[0].removeprefix(PREFIX) in project["project"]["scripts"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_variables_are_options(unit: Path) -> None:
    options = (DEPLOY.parent / "docs/options.md").read_text("utf-8")
    variables = re.findall(r"([A-Z_]+)=", " ".join(values(unit, "Environment")))
    assert variables
    for variable in variables:
        # The C library's own; docs/operations.md says why.
        assert f"`{variable}`" in options or variable in {"HEALTH_URL", "MALLOC_ARENA_MAX"}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda unit: unit.name)
def test_instance_differs_only_by_head(template: Path) -> None:
    """Below its head, the template equals the unit."""
    unit = TEMPLATES[template]
    one, other = unit.read_text("utf-8"), template.read_text("utf-8")
    for names in ("EnvironmentFile", "Environment", "Description"):
        assert set(values(unit, names)) != set(values(template, names))
    for names in ("EnvironmentFile", "Environment", "Description", "Before", "Wants"):
        one, other = (
            re.sub(rf"^(?:#.*\n)*{names}=.*\n", "", text, flags=re.MULTILINE)
            for text in (one, other)
        )
    assert re.sub(r"^#.*\n", "", other, flags=re.MULTILINE) == re.sub(
        r"^#.*\n", "", one, flags=re.MULTILINE
    )


def instance_variables(template: Path, instance: int) -> dict[str, str]:
    text = " ".join(values(template, "Environment")).replace("%i", str(instance))
    return dict(each.split("=", 1) for each in text.split())


@pytest.mark.parametrize("instance", range(1, 10))
def test_instance_ports(instance: int) -> None:
    """All differ, also from those of the other units."""
    of_proxy = instance_variables(PROXIES, instance)
    port = int(of_proxy["PROXY_PORT"])
    assert port == proxy.Config().port + instance
    assert split(of_proxy["HEALTH_URL"]).port == port
    door = proxy.Config(port=port, metrics_port=int(of_proxy["PROXY_METRICS_PORT"]))
    of_server = instance_variables(SERVERS, instance)
    port = int(of_server["CHAT_PORT"])
    assert port == 50060 + instance
    assert split(of_server["HEALTH_URL"]).port == port
    server = chat.Config(port=port, metrics_port=int(of_server["CHAT_METRICS_PORT"]))
    assert len({door.metrics_port, server.metrics_port, 9464, 9465}) == 4
    assert server.metrics_port == 9450 + instance
    assert door.metrics_port == 9470 + instance


def test_servers_stop_after_every_proxy() -> None:
    """Systemd stops units in the reverse order of their start."""
    later = " ".join(values(SERVERS, "Before")).split()
    assert later == [PROXY.name, *(f"chat-proxy@{number}.service" for number in range(1, 10))]


def test_several_nodes_do_not_start_the_single_server() -> None:
    assert values(PROXY, "Wants") == [SERVER.name]
    assert values(PROXIES, "Wants") == []
    # It would be refused: the file is of one server.
    assert "postgresql:" in instance_variables(SERVERS, 1)["CHAT_DATABASE"]


def test_units_have_time_to_stop() -> None:
    for unit in (SERVER, SERVERS):
        assert float(values(unit, "TimeoutStopSec")[0]) > chat.Config().drain_seconds
    for unit in (PROXY, PROXIES):
        assert float(values(unit, "TimeoutStopSec")[0]) > 3 * proxy.Config().drain_seconds


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_units_restart_without_limit(unit: Path) -> None:
    """By default systemd gives up after the fifth failure within ten seconds."""
    head = unit.read_text("utf-8").partition("[Service]")[0]
    assert "\nStartLimitIntervalSec=0\n" in head
    assert values(unit, "Restart") == ["on-failure"]
    assert values(unit, "RestartPreventExitStatus") == ["2"]


def test_proxy_unit_stops_before_server() -> None:
    """Systemd stops units in the reverse order of their start."""
    for unit in (PROXY, PROXIES):
        assert "chat-server.service" in values(unit, "After")[0].split()
