"""Clients with tokens, and the server's answers about them: no I/O.

The server believes tokens, not the proxy. Each client is authenticated by its token, and all
of them again on each new link. It is asked for a client's permissions in each room.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from typing import Any, Final

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
from proxy.core.questions import Answer, Questions
from proxy.core.suspects import Key
from proxy.errors import Refused

# Bytes of UTF-8.
_LARGEST_CHARACTER: Final = 4


class Callers:
    """All clients with tokens."""

    def __init__(self, config: Config, outbox: Outbox, questions: Questions) -> None:
        self._patience = config.hold_seconds + config.call_seconds
        self._refs = outbox.refs
        self._outbox = outbox
        self._questions = questions
        self._numbers = count(1)
        # Those that the server knows, or will know once there is a link.
        self._known: dict[int, Caller] = {}
        # Callers that were authenticated again on this link, by ref.
        self._again: dict[int, Caller] = {}

    async def authenticate(
        self, token: str, dismiss: Callable[[Error], None]
    ) -> tuple[Caller, Authenticated]:
        """Authenticates a new client.

        Raises:
            Refused: the server does not believe the token, or stays away.
        """
        _check(token)
        caller = Caller(next(self._numbers), token, dismiss)
        try:
            return caller, await self._authenticate(caller, token)
        except BaseException:
            self.forget(caller)
            raise

    async def renew(self, caller: Caller, token: str) -> Authenticated:
        """Authenticates a client by another token.

        Raises:
            Refused: the server does not believe it, or stays away.
        """
        _check(token)
        return await self._authenticate(caller, token)

    async def ask_permissions(self, caller: Caller, room_id: str) -> Admitted:
        """Asks for the permissions of a client in a room.

        Raises:
            Refused: the server no longer believes the client, or stays away.
        """
        return await self._questions.ask(
            Admitted, caller.number, COMMAND_BYTES, self._patience, admit=Admit(room_id)
        )

    def forget(self, caller: Caller) -> None:
        """Forgets a client."""
        self._known.pop(caller.number, None)
        self._outbox.put(
            _command(next(self._refs), caller, client_gone=ClientGone()), COMMAND_BYTES
        )

    def connected(self, leaving: Iterable[Caller]) -> None:
        """Authenticates everybody on a new link.

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

    def unanswered(self) -> Iterator[tuple[Key, int]]:
        """Yields the clients that were authenticated again without an answer, with the refs."""
        for ref, caller in self._again.items():
            yield ("authenticate", caller.number), ref

    def awaits(self, ref: int) -> bool:
        """Whether a client was authenticated again by this ref, and there is no answer."""
        return ref in self._again

    def forget_leaving(self, leaving: Iterable[Caller]) -> None:
        """Tells the server that clients are gone, behind their messages."""
        for caller in {caller.number: caller for caller in leaving}.values():
            if caller.number not in self._known:
                self.forget(caller)

    def answered(self, ref: int, answer: Answer | Error) -> bool:
        """Takes an answer of the server; returns whether a client was authenticated again by it."""
        again = self._again.pop(ref, None)
        if again is None:
            return False
        if isinstance(answer, Error):
            again.dismiss(answer)
        return True

    async def _authenticate(self, caller: Caller, token: str) -> Authenticated:
        answer = await self._questions.ask(
            Authenticated,
            caller.number,
            _size(token),
            self._patience,
            authenticate=Authenticate(token),
        )
        caller.token, caller.user_id = token, answer.user_id
        self._known[caller.number] = caller
        return answer


def _command(ref: int, caller: Caller, **payload: Any) -> RelayCommand:
    return RelayCommand(ref=ref, client=caller.number, **payload)


def _check(token: str) -> None:
    if not can_be_token(token):
        raise Refused(errors.unauthenticated("the token is not valid"))


def _size(token: str) -> int:
    # At most. It is not encoded for that: it may turn out to be no valid text.
    return len(token) * _LARGEST_CHARACTER + COMMAND_BYTES
