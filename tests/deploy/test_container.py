"""The image and the compose file in `deploy/`, as far as checkable without a build."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest
import yaml

import chat
import proxy
from hosting.health import split
from tests.deploy.nginx import DEPLOY

ROOT: Final = DEPLOY.parent
CONTAINERFILE: Final = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
KEYS: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.keys.yaml").read_text("utf-8"))
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
# Those of the project's own image.
OWN: Final = {name: SERVICES[name] for name in ("chat", "proxy")}


def instructions(text: str = CONTAINERFILE) -> Iterator[tuple[str, str]]:
    """The instructions, in order, each on one line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            yield name, " ".join(rest.split())


def arguments(name: str) -> list[str]:
    """The arguments of all instructions of this name in the last stage."""
    found: list[str] = []
    for each, rest in instructions():
        if each == "FROM":
            found = []
        elif each == name:
            found.append(rest)
    return found


def environment() -> dict[str, str]:
    """Variables set by the image."""
    [line] = arguments("ENV")
    return dict(pair.split("=", 1) for pair in line.split())


def modules(text: str) -> list[str]:
    """Modules run by ``python -m``."""
    return re.findall(r"-m[\", ]+([a-z.]+)", text)


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


# The image.


def test_base_image_is_pinned() -> None:
    [base] = [rest for name, rest in instructions() if name == "ARG" and "IMAGE" in rest]
    found = re.fullmatch(r"PYTHON_IMAGE=docker\.io/library/python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert found is not None
    assert (int(found[1]), int(found[2])) >= (3, 11)
    assert {rest.split()[0] for name, rest in instructions() if name == "FROM"} == {
        "${PYTHON_IMAGE}"
    }


def test_installed_packages_have_hashes() -> None:
    [install] = [rest for name, rest in instructions() if name == "RUN" and "pip " in rest]
    assert "--require-hashes" in install
    assert "--only-binary :all:" in install
    assert "requirements.lock" in install
    # Each of the two lock files is copied, and so available in the build.
    assert ("ARG", "LOCK=requirements.lock") in instructions()
    assert ("COPY", "${LOCK} /build/requirements.lock") in instructions()
    assert "--build-arg LOCK=deploy/tracing.lock" in CONTAINERFILE


def test_image_has_only_project_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copies = [rest.split() for name, rest in instructions() if name == "COPY"]
    copied = {source: target for source, *_, target in copies if source in packages}
    assert copied == {name: f"/opt/chat/app/{name}" for name in packages}
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {line[1:] for line in ignored if line.startswith("!")} == packages | {
        "requirements.lock",
        "deploy/tracing.lock",
    }


def test_image_does_not_run_as_root() -> None:
    [user] = arguments("USER")
    assert user == "10001:10001"
    [accounts] = arguments("RUN")
    assert "--owner=chat" in accounts
    assert "--uid 10001" in accounts
    assert "--gid 10001" in accounts


def test_image_writes_one_folder_only() -> None:
    assert arguments("VOLUME") == []
    [accounts] = arguments("RUN")
    assert accounts.endswith(" /data")
    assert environment()["CHAT_DATABASE"].startswith("/data/")
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"


def test_image_exposes_default_ports() -> None:
    [ports] = arguments("EXPOSE")
    assert ports.split() == [str(chat.Config().port), str(proxy.Config().port)]


def test_image_has_its_commands() -> None:
    [command] = arguments("CMD")
    assert json.loads(command) == ["python", "-m", "chat"]
    [health] = arguments("HEALTHCHECK")
    for module in modules(CONTAINERFILE):
        assert find_spec(module), module
    assert modules(health) == ["hosting.health"]
    assert split(environment()["HEALTH_URL"]).port == chat.Config().port


# Compose.


def test_both_services_share_the_image() -> None:
    assert {service["image"] for service in OWN.values()} == {"asyncio-grpc-chat"}
    for service in OWN.values():
        build = service["build"]
        assert (DEPLOY / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_few_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if name in OWN:
        assert service["tmpfs"] == ["/tmp"]  # noqa: S108 - one of its own
    assert not {"privileged", "cap_add", "user", "network_mode", "pid"} & service.keys()


@pytest.mark.parametrize("name", OWN)
def test_service_health_checks_own_port(name: str) -> None:
    kind, *command, url = SERVICES[name]["healthcheck"]["test"]
    assert (kind, command) == ("CMD", ["python", "-m", "hosting.health"])
    port = {"chat": chat.Config().port, "proxy": proxy.Config().port}[name]
    assert split(url).port == port


def test_services_have_time_to_stop() -> None:
    assert seconds(SERVICES["chat"]["stop_grace_period"]) > chat.Config().drain_seconds
    assert seconds(SERVICES["proxy"]["stop_grace_period"]) > 3 * proxy.Config().drain_seconds


def test_service_variables_are_options() -> None:
    options = (ROOT / "docs/options.md").read_text("utf-8")
    services = [*OWN.values(), *KEYS["services"].values()]
    own = [service.get("environment", {}) for service in services]
    for variable in {*environment(), *(key for each in own for key in each)}:
        if variable.startswith(("CHAT_", "PROXY_")):
            assert f"`{variable}`" in options


def test_proxy_service_depends_on_server() -> None:
    door = SERVICES["proxy"]
    assert door["depends_on"] == {"chat": {"condition": "service_healthy"}}
    assert door["environment"]["PROXY_UPSTREAM"] == f"chat:{chat.Config().port}"
    assert door["command"] == ["python", "-m", "proxy"]


def test_only_host_gateway_is_trusted() -> None:
    [network] = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert ip_address(network["gateway"]) in ip_network(network["subnet"])
    assert SERVICES["proxy"]["environment"]["PROXY_TRUSTED_PROXIES"] == network["gateway"]
    # Clients on other machines cannot use this address.
    assert all(each.startswith("127.0.0.1:") for each in SERVICES["proxy"]["ports"])


def test_only_proxy_is_published_on_loopback() -> None:
    assert "ports" not in SERVICES["chat"]
    assert SERVICES["proxy"]["ports"] == ["127.0.0.1:8080:8080"]
    assert all(
        port.startswith("127.0.0.1:")
        for service in SERVICES.values()
        for port in service.get("ports", [])
    )


def test_metrics_network_is_prometheus_only() -> None:
    network = COMPOSE["networks"]["metrics"]
    assert network["internal"] is True
    scraped = yaml.safe_load((DEPLOY / "prometheus/compose.yaml").read_text("utf-8"))
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in scraped["scrape_configs"]
    }
    for name, job, port in (("chat", "chat", 9464), ("proxy", "chat-proxy", 9465)):
        service = SERVICES[name]
        address = service["networks"]["metrics"]["ipv4_address"]
        assert ip_address(address) in ip_network(network["ipam"]["config"][0]["subnet"])
        assert service["environment"][f"{name.upper()}_METRICS_HOST"] == address
        assert targets.pop(job) == [f"{address}:{port}"]
    assert not targets
    members = {name for name, service in SERVICES.items() if "metrics" in service["networks"]}
    assert members == {"chat", "proxy", "prometheus"}


def test_prometheus_files_exist() -> None:
    plain = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text("utf-8"))
    scraped = yaml.safe_load((DEPLOY / "prometheus/compose.yaml").read_text("utf-8"))
    assert scraped.keys() == plain.keys()
    assert scraped["rule_files"] == plain["rule_files"]
    mounted = [each.split(":") for each in SERVICES["prometheus"]["volumes"]]
    for source, target, *_ in mounted:
        if source.startswith("."):
            assert (DEPLOY / source).is_file()
            assert target.startswith("/etc/prometheus/")
        else:
            assert source in COMPOSE["volumes"]


def test_keys_are_mounted_and_replaceable() -> None:
    assert KEYS["services"].keys() <= OWN.keys()
    for name, service in KEYS["services"].items():
        # A folder: a mounted file would stay the old one.
        assert service["volumes"] == [f"./keys/{name}:/run/keys:ro"]
        assert all(path.startswith("/run/keys/") for path in service["environment"].values())


def test_database_is_in_a_volume() -> None:
    [volume] = SERVICES["chat"]["volumes"]
    name, _, path = volume.partition(":")
    assert name in COMPOSE["volumes"]
    assert path == "/data"
