"""The targets: the project and its peers, each a set of commands."""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bench import engines, safety
from bench.engines import Engine
from bench.load.dialects import PLAIN, SOCKET_IO
from bench.safety import Safety
from chat.config import UserRates
from hosting.settings import settings_of
from proxy.config import ClientRates

ROOT: Final = Path(__file__).parents[1]
HOST: Final = "127.0.0.1"
_PEERS: Final = ROOT / "bench" / "peers"
_NODE: Final = _PEERS / "node"
_SOCKET_IO: Final = _PEERS / "socket_io"


def _nothing() -> str | None:
    return None


def _missing_node(folder: Path) -> str | None:
    if shutil.which("node") is None:
        return "node"
    if not (folder / "node_modules").is_dir():
        return f"what `npm ci` installs in {folder.relative_to(ROOT)}"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """An implementation of the contract.

    Attributes:
        name: its name on the command line and in the results.
        label: its name in the table.
        server: returns the command of its gRPC server, given its engine; `None` if it has
            only a proxy.
        proxy: returns the command of its proxy, given the ``host:port`` of its server, or
            the URL of the engine if there is no server.
        safety: creates its keys and certificates in a folder.
        engine: runs what its nodes share.
        nodes: the number of its servers, each with a proxy of its own.
        needs: returns what must be installed for it, or `None` if nothing is missing.
        dialect: how clients speak to it.
    """

    name: str
    label: str
    server: Callable[[Engine], list[str]] | None
    proxy: Callable[[str], list[str]]
    safety: Callable[[Path], Safety] = safety.none
    engine: engines.Start = engines.file
    nodes: int = 1
    needs: Callable[[], str | None] = _nothing
    dialect: str = PLAIN


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


# All clients share one address, and one token if any, and send as fast as they get replies.
# Both processes still call the checks, as they do with limits.
_USERS: Final = tuple(f"--{each.name}=0" for each in settings_of(UserRates))
_CROWD: Final = (
    *(f"--{each.name}=0" for each in settings_of(ClientRates)),
    *("--handshakes-per-second=0", "--connections-per-address=0", "--clients-per-address=0"),
)


def project(
    name: str,
    label: str,
    server: Sequence[str],
    proxy: Sequence[str],
    safety: Callable[[Path], Safety] = safety.none,
) -> Target:
    """The project, with further options for its two processes."""
    return Target(
        name,
        label,
        lambda engine: _python(
            *("chat", "--host", HOST, "--port", "0", "--metrics-port", "0"),
            *("--database", engine.url, *(("--hints", engine.hints) if engine.hints else ())),
            *server,
        ),
        lambda upstream: _python(
            *("proxy", "--host", HOST, "--port", "0", "--metrics-port", "0"),
            *("--upstream", upstream, *proxy),
        ),
        safety,
    )


_OPTIONS: Final = ((*_USERS, "--calls-per-address=0"), _CROWD)

PROJECT: Final = project("project", "this project", *_OPTIONS)
NODE: Final = Target(
    "node",
    "Node",
    lambda _: ["node", str(_NODE / "server.js")],
    lambda upstream: ["node", str(_NODE / "proxy.js"), upstream],
    needs=lambda: _missing_node(_NODE),
)
GRPCIO: Final = Target(
    "grpcio",
    "grpcio + aiohttp",
    lambda _: _python("bench.peers.grpcio_aiohttp.server"),
    lambda upstream: _python("bench.peers.grpcio_aiohttp.proxy", upstream),
)
BROADCAST: Final = Target(
    "broadcast", "bare broadcast", None, lambda _: _python("bench.peers.broadcast")
)

TARGETS: Final = (PROJECT, NODE, GRPCIO, BROADCAST)

# The project with tokens and TLS, to measure their cost; only on request.
GUARDED: Final = (
    project("tokens", "with tokens", *_OPTIONS, safety.tokens),
    project("tls", "with tokens and TLS", *_OPTIONS, safety.tokens_and_tls),
)


def _on_postgresql(
    name: str, label: str, nodes: int, engine: engines.Start = engines.postgresql
) -> Target:
    return replace(
        project(name, label, *_OPTIONS),
        engine=engine,
        nodes=nodes,
        needs=engines.missing_postgresql,
    )


POSTGRESQL: Final = _on_postgresql("postgresql", "on PostgreSQL", 1)
POSTGRESQL_2: Final = _on_postgresql("postgresql-2", "two nodes", 2)
POSTGRESQL_2_VALKEY: Final = replace(
    _on_postgresql("postgresql-2-valkey", "two, Valkey", 2, engines.postgresql_with_valkey),
    needs=lambda: engines.missing_postgresql() or engines.missing_redis(),
)
POSTGRESQL_4: Final = _on_postgresql("postgresql-4", "four nodes", 4)


def _socket_io(name: str, label: str, adapter: str) -> Target:
    """Socket.IO in two processes; see `peers/socket_io/server.js` for what it does not do."""
    return Target(
        name,
        label,
        None,
        lambda url: ["node", str(_SOCKET_IO / "server.js"), adapter, url],
        engine=engines.redis,
        nodes=2,
        needs=lambda: _missing_node(_SOCKET_IO) or engines.missing_redis(),
        dialect=SOCKET_IO,
    )


SOCKET_IO_PUBSUB: Final = _socket_io("socket-io", "socket.io, Redis adapter", "pubsub")
SOCKET_IO_STREAMS: Final = _socket_io("socket-io-streams", "socket.io, Redis Streams", "streams")

# Several servers that share something; only on request.
SHARED: Final = (
    POSTGRESQL,
    POSTGRESQL_2,
    POSTGRESQL_2_VALKEY,
    POSTGRESQL_4,
    SOCKET_IO_PUBSUB,
    SOCKET_IO_STREAMS,
)

ALL: Final = (*TARGETS, *GUARDED, *SHARED)
