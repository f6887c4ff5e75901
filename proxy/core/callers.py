"""Clients with tokens, and the server's answers about them: no I/O.

The server believes tokens, not the proxy. Each client is presented to it by a token, and all
of them again on each new link. It is asked for a client's permissions in each room.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final, TypeVar

from gen.chat import (
    Admit,
    Admitted,
    Authenticate,
    Authenticated,
    ClientGone,
    Error,
    RelayCommand,
)
from proxy import errors
from proxy.access.bearer import can_be_token
from proxy.config import Config
from proxy.core.client import Caller
from proxy.core.outbox import COMMAND_BYTES, Outbox
from proxy.core.suspects import Key, key_of
from proxy.errors import Refused

# Bytes of UTF-8.
_LARGEST_CHARACTER: Final = 4

Answer = TypeVar("Answer")


class Callers:
    """All clients with tokens.

    Args:
        outbox: takes commands for the server.
    """

    def __init__(self, config: Config, outbox: Outbox) -> None:
        self._patience = config.hold_seconds + config.call_seconds
        self._refs = outbox.refs
        self._outbox = outbox
        self._numbers = count(1)
        # Those that the server knows, or will know once there is a link.
        self._known: dict[int, Caller] = {}
        # Questions: the command, its size, and the future of the answer.
        self._asked: dict[int, tuple[RelayCommand, int, asyncio.Future[Any]]] = {}
        # Callers that were presented again on this link, by reference.
        self._again: dict[int, Caller] = {}

    async def introduce(
        self, token: str, dismiss: Callable[[Error], None]
    ) -> tuple[Caller, Authenticated]:
        """Presents a new client to the server.

        Raises:
            Refused: the server does not believe the token, or stays away.
        """
        _check(token)
        caller = Caller(next(self._numbers), token, dismiss)
        try:
            return caller, await self._present(caller, token)
        except BaseException:
            self.gone(caller)
            raise

    async def renew(self, caller: Caller, token: str) -> Authenticated:
        """Presents another token of a client.

        Raises:
            Refused: the server does not believe it, or stays away.
        """
        _check(token)
        return await self._present(caller, token)

    async def ask_permissions(self, caller: Caller, room_id: str) -> Admitted:
        """Asks for the permissions of a client in a room.

        Raises:
            Refused: the server no longer believes the client, or stays away.
        """
        return await self._ask(Admitted, caller, COMMAND_BYTES, admit=Admit(room_id))

    def gone(self, caller: Caller) -> None:
        """Forgets a client."""
        self._known.pop(caller.number, None)
        self._outbox.put(
            _command(next(self._refs), caller, client_gone=ClientGone()), COMMAND_BYTES
        )

    def connected(self, leaving: Iterable[Caller]) -> None:
        """Presents everybody to a new link, and repeats the questions without an answer.

        Args:
            leaving: clients that are gone, but whose messages are still to be sent.
        """
        self._again.clear()
        everyone = {caller.number: caller for caller in leaving} | self._known
        for caller in everyone.values():
            ref = next(self._refs)
            self._again[ref] = caller
            authenticate = Authenticate(caller.token)
            self._outbox.put(_command(ref, caller, authenticate=authenticate), _size(caller.token))
        for command, size, _ in self._asked.values():
            self._outbox.put(command, size)

    def unanswered(self) -> Iterator[tuple[Key, int]]:
        """Yields the questions that the server has not answered, with their references."""
        for ref, caller in self._again.items():
            yield ("authenticate", caller.number), ref
        for ref, (command, _, future) in self._asked.items():
            key = key_of(command)
            if key is not None and not future.done():
                yield key, ref

    def awaits(self, ref: int) -> bool:
        """Whether a question of this reference is not answered."""
        return ref in self._again or (ref in self._asked and not self._asked[ref][2].done())

    def tell_gone(self, leaving: Iterable[Caller]) -> None:
        """Tells the server that clients are gone, behind their messages."""
        for caller in {caller.number: caller for caller in leaving}.values():
            if caller.number not in self._known:
                self.gone(caller)

    def answered(self, ref: int, answer: Authenticated | Admitted | Error) -> bool:
        """Takes an answer of the server; returns whether its question came from here."""
        again = self._again.pop(ref, None)
        if again is not None:
            if isinstance(answer, Error):
                again.dismiss(answer)
            return True
        _, _, future = self._asked.get(ref, (None, None, None))
        if future is None or future.done():
            return False
        if isinstance(answer, Error):
            future.set_exception(Refused(answer))
        else:
            future.set_result(answer)
        return True

    async def _present(self, caller: Caller, token: str) -> Authenticated:
        size = _size(token)
        answer = await self._ask(Authenticated, caller, size, authenticate=Authenticate(token))
        caller.token, caller.user_id = token, answer.user_id
        self._known[caller.number] = caller
        return answer

    async def _ask(self, kind: type[Answer], caller: Caller, size: int, **payload: Any) -> Answer:
        ref = next(self._refs)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        command = _command(ref, caller, **payload)
        self._asked[ref] = command, size, future
        self._outbox.put(command, size)
        try:
            async with asyncio.timeout(self._patience):
                answer = await future
        except TimeoutError:
            raise Refused(errors.unavailable()) from None
        finally:
            del self._asked[ref]
        if not isinstance(answer, kind):
            raise TypeError(f"the server answered {type(answer).__name__}, not {kind.__name__}")
        return answer


def _command(ref: int, caller: Caller, **payload: Any) -> RelayCommand:
    return RelayCommand(ref=ref, client=caller.number, **payload)


def _check(token: str) -> None:
    if not can_be_token(token):
        raise Refused(errors.unauthenticated("the token is not valid"))


def _size(token: str) -> int:
    # At most. It is not encoded for that: it may turn out to be no valid text.
    return len(token) * _LARGEST_CHARACTER + COMMAND_BYTES
