"""The parts that all connections of a proxy share."""

from dataclasses import dataclass, field
from typing import Protocol

from betterproto import Message

from proxy.clients.turns import Turns
from proxy.config import Config
from proxy.core.call_table import CallType
from proxy.core.client import Caller
from proxy.core.frames import Changed
from proxy.core.switchboard import Switchboard
from proxy.metrics import ProxyMetrics


class MakeCall(Protocol):
    """Makes a unary call."""

    async def __call__(
        self, call: CallType, request: Message, caller: Caller | None = None
    ) -> Message:
        """Returns the response message; makes the call for `caller`, a client with a token.

        Raises:
            Refused: the server refused, or did not answer before the deadline.
        """


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that all connections share.

    Attributes:
        config: the settings.
        switchboard: the clients, and all that is between them and the server.
        make_call: makes a unary call.
        calls: the unary calls, by the fields that ask for them.
        metrics: the counters.
        turns: gives turns to clients that ask for much.
        changed: makes the answers to changes.
    """

    config: Config
    switchboard: Switchboard
    make_call: MakeCall
    calls: dict[str, CallType]
    metrics: ProxyMetrics
    turns: Turns = field(default_factory=Turns)
    changed: Changed = field(default_factory=Changed)
