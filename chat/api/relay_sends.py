"""A proxy's messages on their way to the disk, and their answers.

A message that is delivered to the stream as a member of its room is confirmed by that (see
`confirmations`). All others are answered here: those of rooms that the stream is not in, or
has entered since, repeated ones, and those that were not stored.
"""

import asyncio
import time
from collections.abc import Sequence

from chat.api.batches import MessageRun
from chat.api.context import Context
from chat.api.conversation import Conversation
from chat.api.relay_answers import RelayAnswers
from chat.core.store_errors import not_stored
from chat.errors import ChatError, Internal
from chat.storage.base import PartlyStored, StoreError
from gen.chat import ChatMessage, RelayEvent, RelayRequest


class RelaySends:
    """The messages of one stream.

    Attributes:
        refs: the refs of the messages that are on their way, by their `id()`.
    """

    def __init__(
        self, context: Context, stream: Conversation[RelayRequest], answers: RelayAnswers
    ) -> None:
        self.refs: dict[int, int] = {}
        self._context = context
        self._hub = context.hub
        self._stream = stream
        self._answers = answers

    async def store(self, run: MessageRun) -> MessageRun:
        """Hands messages to the store, once it has room; returns the run for those that follow."""
        if not run.messages:
            return run
        try:
            await self._hub.store.wait_writable()
            self._hand_over(run)
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._not_stored(run, error)
        return MessageRun(run.came)

    def _hand_over(self, run: MessageRun) -> None:
        future = self._hub.send(self._stream, run.messages)
        # In time: they are announced in a later turn (see `storage.base`). `run` keeps the
        # messages alive until `_stored`, so nothing else gets their `id()`.
        self.refs.update(zip(map(id, run.messages), run.refs, strict=True))
        future.add_done_callback(lambda done: self._stored(run, done))
        self._stream.expect(future)

    def _not_stored(self, run: MessageRun, error: Exception) -> None:
        """Hands messages over one by one, to find the one that is at fault."""
        if isinstance(error, StoreError):
            self._refuse_all(run, not_stored(error))
        elif len(run.refs) == 1:
            self._answers.fail(run.refs[0], error)
            run.end_spans([Internal()])
        else:
            for alone in run.each():
                try:
                    self._hand_over(alone)
                except Exception as why:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._not_stored(alone, why)

    def _refuse_all(self, run: MessageRun, refusal: ChatError) -> None:
        error = refusal.to_message()
        self._context.metrics.errors[refusal.code] += len(run.refs)
        for ref in run.refs:
            self._answers.tell(RelayEvent(ref=ref, error=error))
        run.end_spans([refusal] * len(run.refs))

    def _stored(self, run: MessageRun, done: asyncio.Future[list[ChatMessage]]) -> None:
        """Answers the messages that are not delivered to this stream as a member."""
        for sent in run.messages:
            self.refs.pop(id(sent), None)
        if done.cancelled():
            return
        try:
            results: Sequence[ChatMessage | ChatError] = done.result()
        except PartlyStored as partly:
            results = [_result_of(each) for each in partly.results]
        except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
            self._not_stored(run, error)
            return
        self._context.metrics.delivery_seconds.observe(time.monotonic() - run.came, len(run.refs))
        columns = zip(run.refs, run.memberships, run.messages, results, strict=True)
        for ref, membership, sent, stored in columns:
            room_id = sent.room_id
            if (
                stored is not sent
                or membership is None
                or self._stream.rooms.get(room_id) is not membership
            ):
                try:
                    self._answer_stored(ref, stored)
                except Exception as error:  # noqa: BLE001 - whatever it is, it costs this one alone
                    self._answers.fail(ref, error)
        run.end_spans(results)

    def _answer_stored(self, ref: int, result: ChatMessage | ChatError) -> None:
        if isinstance(result, ChatError):
            self._answers.refuse(ref, 0, result)
        else:
            self._answers.tell(RelayEvent(ref=ref, chat_message=result))


def _result_of(outcome: ChatMessage | StoreError) -> ChatMessage | ChatError:
    return not_stored(outcome) if isinstance(outcome, StoreError) else outcome
