"""A proxy's changes of messages: admitted in order, and made many at a time."""

import asyncio
import time
from typing import Final

from chat.access.identity import GUEST, Identity
from chat.api.changing import admit_change, make_change
from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.api.quotas import charge
from chat.api.relay_answers import RelayAnswers
from chat.errors import ChatError
from chat.storage.changes import Change
from gen.chat import ChangeMessageRequest, ChangeMessageResponse, RelayEvent, RelayRequest
from hosting.rate_limits import CALLS

# How many are under way, before the stream waits to read on. Each may have a text.
_MOST: Final = 256


class RelayChanges:
    """The changes of one stream. The store makes those that come together in one commit."""

    def __init__(
        self, context: Context, stream: Conversation[RelayRequest], answers: RelayAnswers
    ) -> None:
        self._context = context
        self._stream = stream
        self._answers = answers
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
        while len(self._under_way) >= _MOST:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        # Tasks begin in the order in which they were made, and so do the changes in the store.
        task = asyncio.create_task(self._make(command, change))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        self._stream.expect(task)

    def cancel(self) -> None:
        """Cancels what is under way: nobody waits for it any more."""
        for task in self._under_way:
            task.cancel()

    async def _make(self, command: tuple[int, int], change: Change) -> None:
        ref, number = command
        try:
            message = await make_change(self._context, change)
            answer = ChangeMessageResponse(message)
            self._answers.tell(RelayEvent(ref=ref, changed_message=answer))
        except ChatError as error:
            self._answers.refuse(ref, number, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._answers.fail(ref, error)
