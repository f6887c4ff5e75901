"""Names of servers: each address counts, and a name that fails holds up no other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from proxy.upstream.choice import Server
from proxy.upstream.resolver import Resolver


class Names:
    """The names that the event loop can look up.

    Attributes:
        found: the addresses of each name, or the error.
        answers: is set while lookups end.
    """

    def __init__(self) -> None:
        self.found: dict[str, list[str] | OSError] = {}
        self.answers = asyncio.Event()
        self.answers.set()

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        await self.answers.wait()
        found = self.found[host]
        if isinstance(found, OSError):
            raise found
        return [_entry(address, port) for address in found]


def _entry(address: str, port: int) -> tuple[Any, ...]:
    host, _, scope = address.partition("%")
    if ":" in host:
        return socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, int(scope or 0))
    return socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Takes the place of the system's resolver, which no test can change."""
    names = Names()
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
async def resolver(names: Names) -> AsyncIterator[Resolver]:
    """A resolver of two names with two addresses in all."""
    names.found = {"chat": ["10.0.0.1"], "other": ["10.0.0.2"]}
    resolver = Resolver("chat:50051,other:50052")
    yield resolver
    await resolver.close()


def addresses(servers: list[Server]) -> list[str]:
    return [each.address for each in servers]


async def test_each_address_is_a_server(names: Names, resolver: Resolver) -> None:
    names.found["chat"] = ["10.0.0.1", "10.0.0.3", "fe80::1%2"]
    assert await resolver.servers() == [
        Server("chat:50051", "chat", 50051, "10.0.0.1"),
        Server("chat:50051", "chat", 50051, "10.0.0.3"),
        Server("chat:50051", "chat", 50051, "fe80::1%2"),
        Server("other:50052", "other", 50052, "10.0.0.2"),
    ]
    # Looked up anew.
    names.found["chat"] = ["10.0.0.4"]
    assert addresses(await resolver.servers()) == ["10.0.0.4", "10.0.0.2"]


async def test_address_of_two_names_counts_once(names: Names) -> None:
    names.found = {"chat": ["10.0.0.1", "10.0.0.2"], "alias": ["10.0.0.2", "10.0.0.1"]}
    resolver = Resolver("chat:1,alias:1,alias:2,10.0.0.1:1")
    found = [(each.name, each.address) for each in await resolver.servers()]
    assert found == [
        ("chat:1", "10.0.0.1"),
        ("chat:1", "10.0.0.2"),
        ("alias:2", "10.0.0.2"),
        ("alias:2", "10.0.0.1"),
    ]


async def test_addresses_are_not_looked_up(names: Names) -> None:
    names.answers.clear()
    resolver = Resolver("127.0.0.1:1,[::1]:2")
    assert addresses(await resolver.servers()) == ["127.0.0.1", "::1"]
    assert resolver.names == ("127.0.0.1:1", "[::1]:2")
    assert not resolver.is_single
    assert Resolver("127.0.0.1:1").is_single
    # There may be more behind it tomorrow.
    assert not Resolver("chat:1").is_single


async def test_known_addresses_outlive_name_servers(names: Names, resolver: Resolver) -> None:
    await resolver.servers()
    names.found["chat"] = socket.gaierror(socket.EAI_AGAIN, "Temporary failure")
    assert addresses(await resolver.servers()) == ["10.0.0.1", "10.0.0.2"]
    # But not the name's end.
    names.found["chat"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert addresses(await resolver.servers()) == ["chat", "10.0.0.2"]
    names.found["chat"] = ["10.0.0.5"]
    assert addresses(await resolver.servers()) == ["10.0.0.5", "10.0.0.2"]


async def test_slow_lookup_is_good_for_the_next_time(names: Names, resolver: Resolver) -> None:
    await resolver.servers()
    names.found["other"] = ["10.0.0.9"]
    names.answers.clear()
    assert addresses(await resolver.servers()) == ["10.0.0.1", "10.0.0.2"]
    names.answers.set()
    assert addresses(await resolver.servers()) == ["10.0.0.1", "10.0.0.9"]


async def test_unknown_name_stands_for_itself(names: Names, resolver: Resolver) -> None:
    names.found["other"] = OSError("no network")
    assert addresses(await resolver.servers()) == ["10.0.0.1", "other"]


async def test_lookups_end_with_the_resolver(names: Names, resolver: Resolver) -> None:
    before = asyncio.all_tasks()
    names.answers.clear()
    await resolver.servers()
    assert asyncio.all_tasks() > before
    await resolver.close()
    assert asyncio.all_tasks() == before
