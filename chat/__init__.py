"""The chat server: rooms, history and users over gRPC.

To run one inside another program or a test::

    async with chat.serve(chat.Config(host="127.0.0.1", port=0)) as server:
        print(server.address)

Begin with `server`, which wires, then `core.hub`.
"""

from chat.access.tokens import TokenRules
from chat.config import IN_MEMORY, Config, Trust
from chat.core.rules import Limits
from chat.server import RunningServer, serve
from hosting.grpc.limits import ConnectionLimits
from hosting.rate_limits import Rates

__all__ = [
    "IN_MEMORY",
    "Config",
    "ConnectionLimits",
    "Limits",
    "Rates",
    "RunningServer",
    "TokenRules",
    "Trust",
    "serve",
]
