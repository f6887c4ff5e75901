"""The context of handlers: all that they share, and the authentication of their callers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final

from grpclib.server import Stream

from chat.access.authenticator import Authenticator
from chat.access.identity import Identity
from chat.api.quotas import Quotas
from chat.config import Config
from chat.core.hub import Hub
from chat.core.known import Known
from chat.core.rules import Rules
from chat.metrics import ServerMetrics
from hosting.faults import Faults
from hosting.grpc.connections import connection_of, exempt, mark_authenticated

_HEADER: Final = "authorization"


@dataclass(frozen=True, slots=True)
class Context:
    """All that handlers share. Made by `of`.

    Attributes:
        config: the settings.
        authenticator: authenticates callers.
        hub: rooms, presence and the store.
        rules: checks of ids, names and texts.
        quotas: rate limits of callers.
        known: asks the store about ids that no new user or room may have.
        metrics: counters.
        faults: logs defects.
        draining: set when the server is about to stop.
    """

    config: Config
    authenticator: Authenticator
    hub: Hub
    rules: Rules
    quotas: Quotas
    known: Known
    metrics: ServerMetrics
    faults: Faults
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, config: Config, authenticator: Authenticator, hub: Hub) -> Context:
        """Makes the context of a server."""
        return cls(
            config,
            authenticator,
            hub,
            Rules(config.limits),
            Quotas(config.rates),
            Known(hub.store),
            hub.metrics,
            hub.faults,
        )

    def caller(self, call: Stream[Any, Any]) -> Identity:
        """Authenticates the caller of a call, by its token.

        Raises:
            Unauthenticated: see `Authenticator.caller`.
        """
        caller = self.authenticator.caller(_authorization(call))
        self._mark(call)
        return caller

    def proxy(self, call: Stream[Any, Any]) -> Identity:
        """Authenticates the proxy that opens a batch stream, and lifts its connection's bounds.

        Raises:
            Unauthenticated: see `Authenticator.proxy`.
            PermissionDenied: likewise.
        """
        caller = self.authenticator.proxy(_authorization(call), call.peer.cert)
        self._mark(call)
        self.quotas.exempt(connection_of(call))
        exempt(call)
        return caller

    def _mark(self, call: Stream[Any, Any]) -> None:
        # Where all callers are guests, nobody has been authenticated.
        if not self.authenticator.is_open:
            mark_authenticated(call)


def _authorization(call: Stream[Any, Any]) -> list[str]:
    metadata = call.metadata
    return [str(value) for value in metadata.getall(_HEADER, [])] if metadata else []
