"""Several nodes with compose: `deploy/compose.nodes.yaml`, and the nginx in it."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import yaml
from compose_spec import PyCompose

import chat
import proxy
from hosting.health import split
from tests.deploy.nginx import DEPLOY, running_nodes
from tests.proxy.web_client import Client

COMPOSE: Final[dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.nodes.yaml").read_text("utf-8"))
KEYS: Final[dict[str, Any]] = yaml.safe_load(
    (DEPLOY / "compose.nodes.keys.yaml").read_text("utf-8")
)
SERVICES: Final[dict[str, dict[str, Any]]] = COMPOSE["services"]
SERVERS: Final = ("server1", "server2")
PROXIES: Final = ("proxy1", "proxy2")
DATABASES: Final = ("db1", "db2", "db3")
OPTIONS: Final = (DEPLOY.parent / "docs/options.md").read_text("utf-8")
NGINX: Final = (DEPLOY / "nginx/nodes.conf").read_text("utf-8")


def seconds(text: str) -> float:
    return float(text.removesuffix("s"))


@pytest.mark.parametrize("name", [each.name for each in sorted(DEPLOY.glob("compose*.yaml"))])
def test_compose_files_match_schema(name: str) -> None:
    """And the values, such as durations and ports, can be read."""
    text = json.dumps(yaml.safe_load((DEPLOY / name).read_text("utf-8")))
    assert PyCompose.from_json(text).service_names()
    for wrong, right in (("healthcheck", "health_check"), ("30s", "30 parsecs"), ("1g", "1 ton")):
        if f'"{wrong}"' in text:
            with pytest.raises(ValueError, match="line 1 column"):
                PyCompose.from_json(text.replace(f'"{wrong}"', f'"{right}"'))


def test_services_are_there() -> None:
    optional = {"valkey": ["valkey"], "prometheus": ["metrics"]}
    assert SERVICES.keys() == {*SERVERS, *PROXIES, *DATABASES, "nginx", *optional}
    for name, service in SERVICES.items():
        assert service.get("profiles", []) == optional.get(name, [])


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_few_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    # Nobody becomes another user without capabilities, so each begins as the right one.
    if name in (*DATABASES, "valkey"):
        assert service["user"] == "999:999"
    else:
        assert "user" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_health_checks(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] == "CMD"
    assert check.keys() == {"test", "interval", "timeout", "start_period", "retries"}


@pytest.mark.parametrize("name", [*SERVERS, *PROXIES])
def test_health_checks_of_own_ports(name: str) -> None:
    _, *command, url = SERVICES[name]["healthcheck"]["test"]
    assert command == ["python", "-m", "hosting.health"]
    port = chat.Config().port if name in SERVERS else proxy.Config().port
    assert split(url).port == port
    # A proxy whose servers restart is alive.
    assert split(url).path == ("" if name in SERVERS else "/healthz")


def test_services_have_time_to_stop() -> None:
    for name in SERVERS:
        assert seconds(SERVICES[name]["stop_grace_period"]) > chat.Config().drain_seconds
    for name in PROXIES:
        assert seconds(SERVICES[name]["stop_grace_period"]) > 3 * proxy.Config().drain_seconds


def test_variables_are_options() -> None:
    for name in (*SERVERS, *PROXIES):
        for variable in SERVICES[name]["environment"]:
            assert f"`{variable}`" in OPTIONS


def test_images_are_pinned() -> None:
    for name, service in SERVICES.items():
        if name in (*SERVERS, *PROXIES):
            assert service["image"] == "asyncio-grpc-chat"
            assert (DEPLOY / service["build"]["context"]).resolve() == DEPLOY.parent
        else:
            assert re.fullmatch(r"docker\.io/\w+/[\w-]+:v?\d+\.\d+[\w.-]*", service["image"])


def test_nodes_of_a_kind_are_the_same() -> None:
    """But for their names, addresses and volumes."""
    for names in (SERVERS, PROXIES, DATABASES):
        for name in names:
            text = yaml.safe_dump(SERVICES[name])
            first = yaml.safe_dump(SERVICES[names[0]])
            own = r"(?:172\.30\.8[23]\.\d+|(?<=NODE: )db\d|db\d(?=:/var))"
            assert re.sub(own, "", text) == re.sub(own, "", first), name


def test_addresses_are_of_services() -> None:
    port = chat.Config().port
    for name in PROXIES:
        variables = SERVICES[name]["environment"]
        assert variables["PROXY_UPSTREAM"] == ",".join(f"{each}:{port}" for each in SERVERS)
        assert variables["PROXY_TRUSTED_PROXIES"] == address("nginx", "front")
    for name in SERVERS:
        hosts = re.fullmatch(
            r"postgresql://chat@(.+)/chat", SERVICES[name]["environment"]["CHAT_DATABASE"]
        )
        assert hosts is not None
        assert hosts[1] == ",".join(f"{each}:5432" for each in DATABASES)
    for name in DATABASES:
        assert SERVICES[name]["environment"]["NODES"] == ",".join(DATABASES)
        assert SERVICES[name]["environment"]["NODE"] == name


def address(name: str, network: str) -> str:
    found = SERVICES[name]["networks"][network]["ipv4_address"]
    subnet = COMPOSE["networks"][network]["ipam"]["config"][0]["subnet"]
    assert ip_address(found) in ip_network(subnet)
    return str(found)


def test_networks_are_apart() -> None:
    members = {
        network: {name for name, each in SERVICES.items() if network in each["networks"]}
        for network in COMPOSE["networks"]
    }
    assert members == {
        "front": {"nginx", *PROXIES},
        "core": {*PROXIES, *SERVERS},
        "database": {*SERVERS, *DATABASES, "valkey"},
        "metrics": {*SERVERS, *PROXIES, "prometheus"},
        "prometheus": {"prometheus"},
    }
    for network in ("core", "database", "metrics"):
        assert COMPOSE["networks"][network]["internal"] is True


def test_only_nginx_and_prometheus_are_published_on_loopback() -> None:
    published = {name: each["ports"] for name, each in SERVICES.items() if "ports" in each}
    assert published == {"nginx": ["127.0.0.1:8080:8080"], "prometheus": ["127.0.0.1:9090:9090"]}


def test_networks_differ_from_those_of_one_node() -> None:
    """Both may run on one machine."""
    single = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    subnets = [
        ip_network(config["subnet"])
        for file in (single, COMPOSE)
        for network in file["networks"].values()
        for config in (network or {}).get("ipam", {}).get("config", [])
    ]
    assert len(subnets) == 4
    for number, subnet in enumerate(subnets):
        assert not any(subnet.overlaps(other) for other in subnets[:number])
    assert COMPOSE["name"] != DEPLOY.name


def test_secrets_are_files_that_are_not_committed() -> None:
    ignored = (DEPLOY.parent / ".gitignore").read_text("utf-8").splitlines()
    assert "deploy/secrets/" in ignored
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}
    assert used == COMPOSE["secrets"].keys()
    for name in SERVERS:
        [secret] = SERVICES[name]["secrets"]
        password = SERVICES[name]["environment"]["CHAT_DATABASE_PASSWORD_FILE"]
        assert password == f"/run/secrets/{secret}"
    for name in DATABASES:
        assert SERVICES[name]["environment"]["SECRETS"] == "/run/secrets"


def test_keys_are_those_of_one_node() -> None:
    """Each of a kind has what the single one has."""
    single = yaml.safe_load((DEPLOY / "compose.keys.yaml").read_text("utf-8"))["services"]
    server, door = single["chat"], single["proxy"]
    assert KEYS["services"] == {
        **dict.fromkeys(SERVERS, server),
        **dict.fromkeys(PROXIES, door),
    }
    for name, added in KEYS["services"].items():
        assert not added["environment"].keys() & SERVICES[name]["environment"].keys()


def test_mounted_files_exist() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source.startswith("."):
                assert (DEPLOY / source).exists(), name
                assert mode == ["ro"]
            else:
                assert source in COMPOSE["volumes"]
                assert mode == []
                if name in DATABASES:
                    data = Path(service["environment"]["PGDATA"])
                    assert source == name
                    assert data.parent == Path(target)
    [_, script] = SERVICES["db1"]["entrypoint"]
    assert (DEPLOY / "postgres" / Path(script).name).is_file()


def test_prometheus_asks_all_nodes() -> None:
    plain = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text("utf-8"))
    scraped = yaml.safe_load((DEPLOY / "prometheus/nodes.yaml").read_text("utf-8"))
    assert scraped.keys() == plain.keys()
    assert scraped["rule_files"] == plain["rule_files"]
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in scraped["scrape_configs"]
    }
    assert targets == {
        "chat": [f"{address(name, 'metrics')}:9464" for name in SERVERS],
        "chat-proxy": [f"{address(name, 'metrics')}:9465" for name in PROXIES],
    }
    for name in SERVERS:
        host = SERVICES[name]["environment"]["CHAT_METRICS_HOST"]
        assert host == address(name, "metrics")
    for name in PROXIES:
        host = SERVICES[name]["environment"]["PROXY_METRICS_HOST"]
        assert host == address(name, "metrics")


def test_new_proxies_are_where_nginx_found_the_old_ones() -> None:
    fixed = [address(name, "front") for name in ("nginx", *PROXIES)]
    assert len({*fixed, COMPOSE["networks"]["front"]["ipam"]["config"][0]["gateway"]}) == 4


# nginx.


def test_nginx_knows_all_proxies() -> None:
    servers = re.findall(r"^ +server (\S+);", NGINX, re.MULTILINE)
    assert servers == [f"{name}:{proxy.Config().port}" for name in PROXIES]
    [trusted] = re.findall(r"set_real_ip_from (\S+);", NGINX)
    assert trusted == COMPOSE["networks"]["front"]["ipam"]["config"][0]["gateway"]
    [health] = re.findall(r"location = (/nginx-\S+)", NGINX)
    assert SERVICES["nginx"]["healthcheck"]["test"][-1].endswith(health)


async def test_clients_go_to_both_proxies(tmp_path: Path, proxy_config: proxy.Config) -> None:
    """And all to the other one, when one is gone."""
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(proxy.serve(proxy_config)) for _ in PROXIES]
        first = AsyncExitStack()
        gone = await first.enter_async_context(proxy.serve(proxy_config))
        addresses = [f"{door.host}:{door.port}" for door in (gone, doors[0])]
        front = await stack.enter_async_context(running_nodes(tmp_path / "nginx", addresses))
        session = await stack.enter_async_context(aiohttp.ClientSession(front.web))
        sockets = [await session.ws_connect("/") for _ in range(4)]
        clients = [Client(socket) for socket in sockets]
        for client in clients:
            assert "joined" in await client.ask(join={"room_id": "lobby"})
        await clients[0].say("lobby", "hello")
        for client in clients:
            await client.take_until_content("hello")
        closed = [asyncio.create_task(client.closed()) for client in clients]
        await first.aclose()
        done, _ = await asyncio.wait(closed, return_when=asyncio.FIRST_COMPLETED)
        assert 0 < len(done) < len(clients)
        for _ in range(3):
            async with session.ws_connect("/") as socket:
                assert "joined" in await Client(socket).ask(join={"room_id": "lobby"})
        for task in closed:
            task.cancel()
        await asyncio.gather(*closed, return_exceptions=True)
        for socket in sockets:
            await socket.close()


async def test_nginx_hides_its_health_and_that_of_proxies(
    tmp_path: Path, chat_proxy: proxy.RunningProxy
) -> None:
    one = f"{chat_proxy.host}:{chat_proxy.port}"
    async with (
        running_nodes(tmp_path / "nginx", [one, one]) as front,
        aiohttp.ClientSession(front.web) as session,
    ):
        for path, headers, status in (
            ("/healthz", {}, 404),
            ("/nginx-health", {}, 200),
            # Behind the TLS proxy, whose clients are elsewhere.
            ("/nginx-health", {"X-Forwarded-For": "192.0.2.1"}, 403),
            ("/", {}, 200),
        ):
            async with session.get(path, headers=headers) as answer:
                assert answer.status == status, path
