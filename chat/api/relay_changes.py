"""A proxy's changes of messages: admitted in order, and made many at a time."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from chat.access.identity import GUEST, Identity
from chat.api.changing import admit_change, make_changes
from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.api.quotas import charge
from chat.api.relay_answers import RelayAnswers
from chat.errors import ChatError
from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, ChatMessage, RelayRequest
from hosting.rate_limits import CALLS

# How many are under way, before the stream waits to read on. Each may have a text.
_MOST: Final = 256
# With so much text, in characters, a run is long enough: it is made in one commit.
_RUN_CHARACTERS: Final = 64 * 1024


class _Admitted(NamedTuple):
    """A change, and the command that asked for it."""

    ref: int
    client: int
    change: Change


class RelayChanges:
    """The changes of one stream. Those that come in one turn of the event loop are one run."""

    def __init__(
        self, context: Context, stream: Conversation[RelayRequest], answers: RelayAnswers
    ) -> None:
        self._context = context
        self._stream = stream
        self._answers = answers
        # The one that takes more still, and the characters in it.
        self._run: list[_Admitted] | None = None
        self._characters = 0
        self._number = 0
        self._under_way: set[asyncio.Task[None]] = set()

    async def make(
        self, client: Identity, command: tuple[int, int], request: ChangeMessageRequest
    ) -> None:
        """Admits a change, and lets it be made and answered; the next one need not wait for that.

        Args:
            client: who asks.
            command: the ref of the command, and the number of its client.
            request: what is asked.

        Raises:
            ChatError: it is not admitted.
        """
        if client is not GUEST:
            client.check_time(time.time())
            charge(self._context.quotas.user(client.subject or "").calls, CALLS)
        change = await admit_change(self._context, client, request)
        while self._number >= _MOST:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        run = self._run or self._begin()
        run.append(_Admitted(*command, change))
        self._number += 1
        asked = request.change
        self._characters += len(asked) if isinstance(asked, str) else 0
        if self._characters >= _RUN_CHARACTERS:
            self._run = None

    def _begin(self) -> list[_Admitted]:
        self._run, self._characters = [], 0
        # Tasks begin in the order in which they were made, and so do the changes in the store. It
        # begins behind this turn of the event loop: what comes until then is in the run.
        task = asyncio.create_task(self._make(self._run))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        self._stream.expect(task)
        return self._run

    def cancel(self) -> None:
        """Cancels what is under way: nobody waits for it any more."""
        for task in self._under_way:
            task.cancel()

    async def _make(self, run: list[_Admitted]) -> None:
        if self._run is run:
            self._run = None
        try:
            made = await self._made([each.change for each in run])
        finally:
            self._number -= len(run)
        changed: list[tuple[int, ChatMessage]] = []
        for each, outcome in zip(run, made, strict=True):
            if isinstance(outcome, ChatMessage):
                changed.append((each.ref, outcome))
            elif isinstance(outcome, ChatError):
                self._answers.refuse(each.ref, each.client, outcome)
            else:
                self._answers.fail(each.ref, outcome)
        self._answers.tell_changed(changed)

    async def _made(self, changes: Sequence[Change]) -> Sequence[ChatMessage | Exception]:
        try:
            return await make_changes(self._context, changes)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs one change alone
            if len(changes) == 1:
                return [error]
            return [(await self._made([each]))[0] for each in changes]
