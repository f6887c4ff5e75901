"""The handler of `RelayService`."""

from grpclib.const import Handler
from grpclib.server import Stream

import codec
from chat.api.context import Context
from chat.api.handlers import handlers
from chat.api.relay import MOST_COMMANDS, RelayConversation, too_many
from gen.chat import RelayRequest, RelayResponse, RelayServiceBase
from hosting.grpc.messages import at_most
from hosting.metadata import ANSWERS, ANSWERS_SHARED


class RelayService:
    """`chat.RelayService`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def __mapping__(self) -> dict[str, Handler]:
        """The one method, by a handler that reads and writes at once.

        Replaces the request type, so that a batch with too many commands is refused before it
        is decoded; columns are counted in `RelayConversation.receive`.
        """
        methods = handlers(RelayServiceBase(), {"Relay": self._relay})
        return {
            path: each._replace(request_type=_BoundedRelayRequest) for path, each in methods.items()
        }

    async def _relay(self, stream: Stream[RelayRequest, RelayResponse]) -> None:
        caller = self._context.authenticate_proxy(stream)
        metadata = stream.metadata
        shares = metadata is not None and metadata.get(ANSWERS) == ANSWERS_SHARED
        await RelayConversation(self._context, caller, shares=shares).run(stream)


class _BoundedRelayRequest:
    """The request type as grpclib decodes it: a batch, with a bound on its commands."""

    @staticmethod
    def FromString(data: bytes) -> RelayRequest:  # noqa: N802 - as google's messages have it
        """Decodes a batch.

        Raises:
            ResourceExhausted: it has too many commands.
            codec.DecodeError: it is none.
        """
        if not at_most(MOST_COMMANDS, data):
            raise too_many()
        return codec.decode(RelayRequest, data)
