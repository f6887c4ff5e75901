"""Commands that somebody waits for: no I/O.

Each is kept until it is answered, and asked again on each new link: so a server may be asked twice.
One timer does for all of them: nearly all are answered, long before they are due.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from gen.chat import Admitted, Authenticated, ChangeMessageResponse, Error, RelayCommand
from hosting.alarm import Alarm
from proxy import errors
from proxy.core.outbox import Outbox
from proxy.core.suspects import Key, key_of
from proxy.errors import Refused

Answer = Authenticated | Admitted | ChangeMessageResponse

_Kind = TypeVar("_Kind", bound=Answer)


@dataclass(frozen=True, slots=True)
class _Question:
    """A command that waits for its answer, and its size in bytes, at most.

    It waits until `due`, in the time of the event loop.
    """

    command: RelayCommand
    size: int
    due: float
    answer: asyncio.Future[Answer]


class Questions:
    """The questions without an answer."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._asked: dict[int, _Question] = {}
        # Goes off when the first of them is due, or one that was answered.
        self._alarm = Alarm(self._give_up)

    async def ask(
        self, kind: type[_Kind], client: int, size: int, patience: float, **payload: Any
    ) -> _Kind:
        """Asks the server.

        Args:
            kind: the type of the answer.
            client: the client number of whom it is asked for.
            size: the bytes of the command, at most.
            patience: how many seconds it waits for the answer, over however many links.
            payload: the payload of the command.

        Raises:
            Refused: the server refused, or stays away.
        """
        ref = next(self._outbox.refs)
        command = RelayCommand(ref=ref, client=client, **payload)
        loop = asyncio.get_running_loop()
        question = _Question(command, size, loop.time() + patience, loop.create_future())
        self._asked[ref] = question
        self._outbox.put(command, size)
        self._alarm.set(question.due)
        try:
            answer = await question.answer
        finally:
            del self._asked[ref]
        if not isinstance(answer, kind):
            raise TypeError(f"the server answered {type(answer).__name__}, not {kind.__name__}")
        return answer

    def connected(self) -> None:
        """Asks all of them again: there is a new link."""
        for question in self._asked.values():
            self._outbox.put(question.command, question.size)

    def unanswered(self) -> Iterator[tuple[Key, int]]:
        """Yields the questions without an answer, with their refs."""
        for ref, question in self._asked.items():
            key = key_of(question.command)
            if key is not None and not question.answer.done():
                yield key, ref

    def awaits(self, ref: int) -> bool:
        """Whether a question of this ref is not answered."""
        return ref in self._asked and not self._asked[ref].answer.done()

    def answered(self, ref: int, answer: Answer | Error) -> bool:
        """Takes an answer of the server; returns whether its question came from here."""
        question = self._asked.get(ref)
        if question is None or question.answer.done():
            return False
        if isinstance(answer, Error):
            question.answer.set_exception(Refused(answer))
        else:
            question.answer.set_result(answer)
        return True

    def _give_up(self) -> None:
        """Ends the questions that are due; the server stays away."""
        now = asyncio.get_running_loop().time()
        waiting = [each for each in self._asked.values() if not each.answer.done()]
        for question in waiting:
            if question.due <= now:
                question.answer.set_exception(Refused(errors.unavailable()))
        if later := [each.due for each in waiting if each.due > now]:
            self._alarm.set(min(later))
