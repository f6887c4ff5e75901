"""The way to the chat servers: always one link, to one of them.

::

              link opened                 a better one was opened beside it
    away ---------------------> linked -------------------------------------+
      ^                          |  ^                                       |
      |   lost: another at once  |  +---------------------------------------+
      +--------------------------+

*away*: the switchboard holds what clients send; the outbox is closed. The next server is tried at
once, unless all rest that there are: `proxy.upstream.choice` draws it, and has the reasons.
*linked*: `proxy.upstream.conversation` uses the link.

With several servers, another link is opened beside the one in use when its server says that it
does not serve, and every ten minutes or so: so a server that was restarted fills up again.
It takes over only if its server serves; an attempt that fails costs nobody anything.
"""

import asyncio
from contextlib import suppress
from random import SystemRandom

from hosting.addresses import is_loopback
from hosting.grpc.channel import ended
from hosting.logs import get_logger
from hosting.tls import Tls
from proxy.config import Config
from proxy.core.suspects import LINKS, Suspects
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics
from proxy.upstream.calls import Calls
from proxy.upstream.choice import LONGEST_REST, Choice, Confinement, Server
from proxy.upstream.conversation import Conversation, about
from proxy.upstream.leaving import Leaving
from proxy.upstream.lost import LOST
from proxy.upstream.opening import OpenLink
from proxy.upstream.resolver import Resolver

log = get_logger(__name__)


class Link:
    """Keeps up the link, and makes unary calls beside it.

    Args:
        config: the settings.
        switchboard: the other end: its outbox is drained, and it takes the server's batches.
        tls: the encryption of the link, if it has any.
        metrics: counts links and batches.

    Attributes:
        calls: makes unary calls beside the link.
        upstreams: the names of the servers, as the settings have them.
    """

    def __init__(
        self,
        config: Config,
        switchboard: Switchboard,
        tls: Tls | None = None,
        metrics: ProxyMetrics | None = None,
    ) -> None:
        self._metrics = metrics or ProxyMetrics()
        self._config = config
        self._tls = tls
        self._switchboard = switchboard
        self._suspects = Suspects()
        self._resolver = Resolver(config.upstream)
        self._choice = Choice(SystemRandom())
        self._confinement = Confinement()
        self._warned = False
        # Whether one of several servers asks for tokens.
        self._tokens_required = False
        # The link in use, and one that is to take its place.
        self._link: OpenLink | None = None
        self._successor: OpenLink | None = None
        self._leaving = Leaving(config.call_seconds)
        self.calls = Calls(config, self._metrics)
        self.upstreams = self._resolver.names

    async def run(self) -> None:
        """Keeps the stream up until it is cancelled."""
        keeping = asyncio.create_task(self._keep_up(), name="link")
        try:
            await asyncio.wait({keeping})
            keeping.result()
        finally:
            await ended(keeping)
            await self._leaving.close()
            await self._resolver.close()

    @property
    def linked(self) -> bool:
        """Whether there is a stream to a server."""
        return self._switchboard.outbox.is_open

    @property
    def upstream(self) -> str:
        """The name of the server that the link goes to; empty without one."""
        return self._link.server.name if self._link is not None and self.linked else ""

    async def is_ready(self) -> bool:
        """Returns whether there is a stream, and the server answers that it serves."""
        return self.linked and self._link is not None and await self._link.health.is_serving()

    async def _keep_up(self) -> None:
        link: OpenLink | None = None
        while True:
            try:
                # A successor is used in the same turn of the event loop.
                link = await self._use(link or await self._next())
            except Exception:
                # A proxy without a link is of no use: whatever it was, it goes on.
                log.exception("upstream failed")
                link = None
                await asyncio.sleep(LONGEST_REST)

    async def _next(self) -> OpenLink:
        """Opens a link to one of the servers, as soon as there is one."""
        loop = asyncio.get_running_loop()
        while True:
            servers = await self._resolver.servers()
            self._choice.forget_all_but(servers)
            now = loop.time()
            allowed = self._confinement.allowed(servers, now)
            server = self._choice.pick(allowed, now)
            if server is None:
                rest = self._choice.rest(allowed, now)
                confined = self._confinement.rest(now)
                await asyncio.sleep(min(rest, confined or rest))
                continue
            link = await self._open(server, of_several=len(servers) > 1)
            if link is None:
                continue
            if link.health.refusing.is_set() and self._choice.has_better(
                allowed, server, loop.time()
            ):
                await link.close()
                continue
            self._metrics.links += 1
            return link

    async def _open(self, server: Server, *, of_several: bool) -> OpenLink | None:
        """Opens a link to a server; `None` if that cannot be done."""
        error: Exception
        try:
            link = await OpenLink.to(server, self._config, self._tls, asks_health=of_several)
            if of_several:
                await self._check_tokens(link)
        except LOST as lost:
            error = lost
        except Exception as unforeseen:
            log.exception("upstream failed", **about(server))
            error = unforeseen
        else:
            if link.health.refusing.is_set():
                self._choice.refused(server, asyncio.get_running_loop().time())
            return link
        self._metrics.link_failures += 1
        now, silent = asyncio.get_running_loop().time(), isinstance(error, TimeoutError)
        failures = self._choice.failed(server, now, silent=silent)
        # The first failure is news, the rest of them are not.
        level = log.warning if failures == 1 else log.debug
        level("upstream unreachable", **about(server), reason=repr(error))
        return None

    async def _check_tokens(self, link: OpenLink) -> None:
        """Keeps clients from a server that believes anyone, if others of the same history do not.

        Raises:
            ConnectionError: it is such a server; the link is closed.
        """
        self._tokens_required |= link.tokens_required
        if self._tokens_required and not link.tokens_required:
            await link.close()
            raise ConnectionError("the server asks for no tokens, and others do")

    async def _use(self, link: OpenLink) -> OpenLink | None:
        """Uses a link until it ends; returns the one that takes its place, if there is one."""
        self._link = link
        log.info("upstream connected", **about(link.server))
        conversation = Conversation(
            link, self._switchboard, self.calls, self._suspects, self._metrics
        )
        if not link.tokens_required:
            self._warn_of_guests()
        moved = False
        try:
            moved = await conversation.run(self._seek)
        finally:
            self._note_end(conversation, moved=moved)
            successor, self._successor = self._successor, None
            self._leaving.add(conversation, successor)
            if successor is not None and not moved:
                await successor.close()
        return successor

    def _note_end(self, conversation: Conversation, *, moved: bool) -> None:
        """Notes what the end of a link says about its server."""
        server, now = conversation.link.server, asyncio.get_running_loop().time()
        if conversation.proven:
            self._choice.worked(server)
            self._confinement.clear()
        if moved:
            return
        self._metrics.link_failures += 1
        if conversation.proven:
            self._choice.lost(server, now, silent=conversation.silent)
        else:
            self._choice.failed(server, now, silent=conversation.silent)
        if not conversation.orderly:
            suspected = bool(self._suspects) and self._suspects.links <= LINKS
            self._confinement.died(server, now, suspected=suspected)

    async def _seek(self) -> None:
        """Ends once there is a better link than the one in use: `_successor`."""
        loop = asyncio.get_running_loop()
        if self._link is None or self._resolver.is_single:
            await loop.create_future()
            return
        current, period = self._link, self._config.upstream_recycle_seconds
        refusing = current.health.refusing
        while self._successor is None:
            rest = self._choice.recycle_after(period) if period else None
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await refusing.wait()
            try:
                self._successor = await self._look_beside(current, leaving=refusing.is_set())
            except Exception:
                log.exception("other servers not looked for")
            if refusing.is_set() and self._successor is None:
                # As often as it is asked.
                await asyncio.sleep(self._config.upstream_heartbeat_seconds)

    async def _look_beside(self, current: OpenLink, *, leaving: bool) -> OpenLink | None:
        """Opens a link to another server beside the one in use, if that may be better."""
        loop = asyncio.get_running_loop()
        servers = await self._resolver.servers()
        server = self._choice.beside(servers, current.server, loop.time(), leaving=leaving)
        link = None if server is None else await self._open(server, of_several=True)
        if link is None:
            return None
        if link.health.refusing.is_set():
            await link.close()
            return None
        self._choice.worked(link.server)
        self._metrics.moves["not_serving" if leaving else "recycle"] += 1
        return link

    def _warn_of_guests(self) -> None:
        """Warns an operator, once; it may be meant: nobody else may reach the server."""
        config = self._config
        if not self._warned and (not is_loopback(config.host) or config.admission.trusted_proxies):
            self._warned = True
            log.warning("anyone who reaches this proxy may be anyone: the server has no token-keys")
