"""The answers to a proxy's commands."""

from collections.abc import Callable, Iterable
from typing import Final

import codec
from chat.api.context import Context
from chat.core.encoded import batch_of
from chat.errors import ChatError, Internal
from codec.writing import tagged
from gen.chat import ChangeMessageResponse, ChatMessage, RelayEvent, RelayResponse
from hosting.logs import get_logger
from hosting.telemetry.histogram import Tally

log = get_logger(__name__)

# The tag of `RelayEvent.ref`, a number.
_REF: Final = 1 << 3


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

    def tell_changed(self, answers: Iterable[tuple[int, ChatMessage]]) -> None:
        """Answers changes, by their refs. Those that left one message are told the same bytes."""
        encoded: dict[int, bytes] = {}
        for ref, message in answers:
            event = encoded.get(id(message))
            try:
                if event is None:
                    changed = RelayEvent(changed_message=ChangeMessageResponse(message))
                    event = encoded[id(message)] = codec.encode(changed)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self.fail(ref, error)
            else:
                # A message continues with whatever fields follow.
                self._put(batch_of(event + tagged(_REF, ref)))

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
