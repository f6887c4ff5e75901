"""The context of handlers: all that they share, and the authentication of their callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from grpclib.server import Stream

from chat.access.authenticator import Authenticator
from chat.access.identity import Identity
from chat.api.quotas import Quotas
from chat.api.settling import Tab
from chat.config import Config
from chat.core.erasing import Erasing
from chat.core.hub import Hub
from chat.core.legacy_ids import LegacyIds
from chat.core.marking import Marking, Wish
from chat.core.rules import Rules
from chat.metrics import ServerMetrics
from chat.storage.base import Store
from gen.chat import Authenticated, Mark
from hosting.faults import Faults
from hosting.grpc.connections import connection_of, lift_connection_limits, mark_authenticated

_HEADER: Final = "authorization"


@dataclass(frozen=True, slots=True)
class Context:
    """All that handlers share. Made by `of`.

    Attributes:
        hub: rooms, presence and the store.
        rules: checks of ids, names and texts.
        quotas: rate limits of callers.
        legacy_ids: checks of ids that no new user or room may have.
        marking: paces read marks.
        erasing: erases users.
        draining: set when the server is about to stop.
    """

    config: Config
    authenticator: Authenticator
    hub: Hub
    rules: Rules
    quotas: Quotas
    legacy_ids: LegacyIds
    marking: Marking
    erasing: Erasing
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
            Quotas(config.rates, Tab(time.monotonic()) if hub.store.is_shared else None),
            LegacyIds(hub.store),
            Marking(partial(_store_mark, hub.store), hub.metrics, hub.faults),
            Erasing(hub.store, hub.metrics, hub.faults),
            hub.metrics,
            hub.faults,
        )

    def authenticate(self, call: Stream[Any, Any]) -> Identity:
        """Authenticates the caller of a call, by its token.

        Raises:
            Unauthenticated: see `Authenticator.caller`.
        """
        caller = self.authenticator.caller(_authorization(call))
        self._mark(call)
        return caller

    def authenticate_proxy(self, call: Stream[Any, Any]) -> Identity:
        """Authenticates the proxy that opens a batch stream, and lifts its connection's bounds.

        Raises:
            Unauthenticated, PermissionDenied: see `Authenticator.proxy`.
        """
        caller = self.authenticator.proxy(_authorization(call), call.peer.cert)
        self._mark(call)
        self.quotas.exempt_connection(connection_of(call))
        lift_connection_limits(call)
        return caller

    def _mark(self, call: Stream[Any, Any]) -> None:
        # Where all callers are guests, nobody has been authenticated.
        if not self.authenticator.is_open:
            mark_authenticated(call)


def authenticated_message(caller: Identity) -> Authenticated:
    """Makes the answer to a token: its user, and its end."""
    return Authenticated(caller.subject or "", datetime.fromtimestamp(caller.expires_at or 0, UTC))


def _store_mark(store: Store, user_id: str, room_id: str, wish: Wish) -> Awaitable[Mark]:
    return store.mark(user_id, room_id, wish.seq, back=wish.back)


def _authorization(call: Stream[Any, Any]) -> list[str]:
    metadata = call.metadata
    return [str(value) for value in metadata.getall(_HEADER, [])] if metadata else []
