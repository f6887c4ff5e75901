"""Confirmations of a proxy's own messages, told in columns: one event for each commit."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import codec
from gen.chat import ChatMessage, RelayEvent, RelayResponse, Stored

# How many confirmations are one event at most: what waits beside the mailbox.
_MOST: Final = 1000


class Confirmations:
    """Collects confirmations until something else is to be told.

    Args:
        put: puts an encoded response into the mailbox.
        fail: answers a message whose confirmation cannot be encoded.
        wake: lets the writer of the stream come for them.
    """

    def __init__(
        self,
        put: Callable[[bytes], None],
        fail: Callable[[int, Exception], None],
        wake: Callable[[], None],
    ) -> None:
        self._put = put
        self._fail = fail
        self._wake = wake
        # All in one commit.
        self._refs: list[int] = []
        self._seqs: list[int] = []
        self._sent_at: datetime | None = None

    def add(self, ref: int, message: ChatMessage) -> None:
        """Adds a message that was stored, by its ref."""
        if message.sent_at is not self._sent_at or len(self._refs) >= _MOST:
            self.flush()
            self._sent_at = message.sent_at
        if not self._refs:
            self._wake()
        self._refs.append(ref)
        self._seqs.append(message.seq)

    def flush(self) -> None:
        """Puts what was collected into the mailbox."""
        if not self._refs:
            return
        refs, seqs = self._refs, self._seqs
        self._refs, self._seqs = [], []
        try:
            item = self._encoded(refs, seqs)
        except Exception:  # noqa: BLE001 - whatever it is, it costs this one alone
            # Each is answered alone, and the fault is found at the one that has it.
            self._put_one_by_one(refs, seqs)
        else:
            self._put(item)

    def _put_one_by_one(self, refs: Sequence[int], seqs: Sequence[int]) -> None:
        for ref, seq in zip(refs, seqs, strict=True):
            try:
                item = self._encoded([ref], [seq])
            except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                self._fail(ref, error)
            else:
                self._put(item)

    def _encoded(self, refs: list[int], seqs: list[int]) -> bytes:
        stored = Stored(refs=refs, seqs=seqs, sent_at=self._sent_at)
        return codec.encode(RelayResponse(events=[RelayEvent(stored=stored)]))
