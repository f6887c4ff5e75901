"""The answers to a proxy's commands."""

from collections.abc import Callable, Iterable
from typing import Final

import codec
from chat.api.context import Context
from chat.core.encoded import batch_of
from chat.errors import ChatError, Internal
from codec.writing import tagged
from gen.chat import ChangedTogether, ChangeMessageResponse, ChatMessage, RelayEvent, RelayResponse
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
        shares: whether the proxy takes one answer for several changes.
    """

    def __init__(
        self, context: Context, refused: Tally, put: Callable[[bytes], None], *, shares: bool
    ) -> None:
        self._context = context
        self._refused = refused
        self._put = put
        self._shares = shares

    def tell(self, event: RelayEvent) -> None:
        """Answers a command."""
        self._put(codec.encode(RelayResponse(events=[event])))

    def tell_changed(self, answers: Iterable[tuple[int, ChatMessage]]) -> None:
        """Answers changes, by their refs: once for all that left the same message."""
        left: dict[int, tuple[ChatMessage, list[int]]] = {}
        for ref, message in answers:
            left.setdefault(id(message), (message, []))[1].append(ref)
        for message, refs in left.values():
            try:
                if self._shares and len(refs) > 1:
                    self.tell(RelayEvent(changed_together=ChangedTogether(refs, message)))
                else:
                    self._tell_each(refs, message)
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this message alone
                for ref in refs:
                    self.fail(ref, error)

    def _tell_each(self, refs: Iterable[int], message: ChatMessage) -> None:
        event = codec.encode(RelayEvent(changed_message=ChangeMessageResponse(message)))
        for ref in refs:
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
