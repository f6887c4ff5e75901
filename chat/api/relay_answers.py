"""The answers to a proxy's commands."""

from collections.abc import Callable

import codec
from chat.api.context import Context
from chat.errors import ChatError, Internal
from gen.chat import RelayEvent, RelayResponse
from hosting.logs import get_logger
from hosting.telemetry.histogram import Tally

log = get_logger(__name__)


class RelayAnswers:
    """Encodes answers, counts and logs refusals.

    Args:
        refused: counts refused commands by their error.
        put: puts an encoded response into the mailbox.
    """

    def __init__(self, context: Context, refused: Tally, put: Callable[[bytes], None]) -> None:
        self._context = context
        self._refused = refused
        self._put = put

    def tell(self, event: RelayEvent) -> None:
        """Answers a command."""
        self._put(codec.encode(RelayResponse(events=[event])))

    def refuse(self, ref: int, client: int, error: ChatError) -> None:
        """Answers a command with an error, and counts it."""
        self._context.metrics.errors[error.code] += 1
        if self._refused.add(error.code):
            log.debug("command refused", client=client, ref=ref, code=error.code)
        self.tell(RelayEvent(ref=ref, error=error.to_message()))

    def fail(self, ref: int, error: Exception) -> None:
        """Answers a command with a fixed text; the log gets the whole story."""
        self._context.metrics.errors[Internal.code] += 1
        self._context.faults.log("command failed", error)
        self.tell(RelayEvent(ref=ref, error=Internal().to_message()))
