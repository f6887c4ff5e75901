"""Looks the names of the servers up: each address of a name is a server.

A name is looked up anew before each link, so that a headless service of Kubernetes, whose
addresses come and go with its pods, needs nothing else. A slow lookup holds up nobody who knows
enough without it: it goes on behind the scenes, and its answer is good for the next time.
"""

import asyncio
import socket
from ipaddress import ip_address
from typing import Any, Final

from hosting.addresses import address_text, split_addresses
from hosting.logs import get_logger
from proxy.upstream.choice import Server

log = get_logger(__name__)

# One link is late by so much at most if names are not answered for.
_PATIENCE_SECONDS: Final = 0.5
# The answers after which a name has no addresses; others say nothing about it.
_NO_ADDRESS: Final = (socket.EAI_NONAME, socket.EAI_NODATA)


class Resolver:
    """The servers behind the names of the settings.

    Args:
        upstream: one or several ``host:port``, as `split_addresses` takes them.

    Attributes:
        is_single: whether there is, and will be, one server at most.
        names: the names, as the settings have them.
    """

    def __init__(self, upstream: str) -> None:
        targets = split_addresses(upstream)
        self.names = tuple(address_text(host, port) for host, port in targets)
        self._names = dict(zip(self.names, targets, strict=True))
        self.is_single = len(targets) == 1 and _is_address(targets[0][0])
        # What the last lookup of each name found.
        self._found: dict[str, list[Server]] = {}
        self._lookups: dict[str, asyncio.Task[None]] = {}

    async def servers(self) -> list[Server]:
        """Returns the servers; each address once.

        A name without a known address stands for itself: the attempt to connect to it tells why.
        """
        for name, (host, port) in self._names.items():
            if _is_address(host):
                self._found[name] = [Server(name, host, port, host)]
            elif name not in self._lookups:
                self._lookups[name] = asyncio.create_task(self._look_up(name, host, port))
        if self._lookups:
            await asyncio.wait(self._lookups.values(), timeout=_PATIENCE_SECONDS)
        servers: dict[tuple[str, int], Server] = {}
        for name, (host, port) in self._names.items():
            for each in self._found.get(name) or [Server(name, host, port, host)]:
                servers.setdefault((each.address, each.port), each)
        return list(servers.values())

    async def close(self) -> None:
        """Ends the lookups that are under way."""
        lookups = tuple(self._lookups.values())
        for each in lookups:
            each.cancel()
        if lookups:
            await asyncio.wait(lookups)

    async def _look_up(self, name: str, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self._found[name] = [Server(name, host, port, _address(each[4])) for each in found]
        except OSError as error:
            log.debug("name not looked up", name=name, reason=repr(error))
            if error.errno in _NO_ADDRESS:
                self._found.pop(name, None)
        except Exception:
            # The addresses of before are as good as any.
            log.exception("name not looked up", name=name)
        finally:
            del self._lookups[name]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _address(found: tuple[Any, ...]) -> str:
    """The address in an answer of ``getaddrinfo``; a link-local one has its interface."""
    host, scope = str(found[0]), found[3] if len(found) > 3 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host
