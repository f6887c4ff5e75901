"""The gate: who calls, by a token or a certificate.

====================  ============================  =========================
the server has keys   the call has                  the caller is
====================  ============================  =========================
no                    whatever                      a guest
yes                   a good token                  the token's subject
yes                   a certificate of a proxy      that proxy, on the batch
                                                    stream; else refused
yes                   neither                       refused
====================  ============================  =========================

A proxy passes on the calls of its clients with their tokens. One without a token is
nobody's, and not the proxy's own because it comes over its connection.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Final

from grpclib.server import Stream

from chat.access.identity import GUEST, Identity
from chat.access.tokens import TokenVerifier
from chat.errors import InvalidArgument, Unauthenticated
from hosting.grpc.connections import mark_authenticated

_HEADER: Final = "authorization"
_NOBODY: Final = "a token is required"


class Gate:
    """Decides who calls.

    Args:
        verifier: believes tokens; without one, all are guests.
        proxies: the DNS names in certificates (RFC 9525) of those who may speak for others.

    Attributes:
        is_open: whether all are guests.
    """

    def __init__(
        self, verifier: TokenVerifier | None = None, proxies: Container[str] = frozenset()
    ) -> None:
        self.is_open = verifier is None
        self._verifier = verifier
        self._proxies = proxies

    def caller(self, stream: Stream[Any, Any]) -> Identity:
        """Says who makes a call, by its token.

        Raises:
            Unauthenticated: nobody who is believed.
        """
        caller = self._by_token(stream)
        if caller is None:
            raise Unauthenticated(_NOBODY)
        self._believe(stream)
        return caller

    def proxy(self, stream: Stream[Any, Any]) -> Identity:
        """Says which proxy opens a batch stream, by its token or its certificate.

        Raises:
            Unauthenticated: nobody who is believed.
            PermissionDenied: somebody who is no proxy.
        """
        caller = self._by_token(stream) or self._certified(stream)
        caller.check_proxy()
        self._believe(stream)
        return caller

    def verify(self, token: str) -> Identity:
        """Believes a token that came in a message.

        Raises:
            InvalidArgument: all are guests here.
            Unauthenticated: it is not good.
        """
        if self._verifier is None:
            raise InvalidArgument("authenticate", "this server asks for no tokens")
        return self._verifier.verify(token)

    def refresh(self) -> int:
        """Reads the keys again if they were replaced; returns how often they have been read."""
        return 0 if self._verifier is None else self._verifier.refresh()

    def believes(self, caller: Identity) -> bool:
        """Whether the key of a caller's token is still among the keys."""
        return self._verifier is None or caller.key is None or self._verifier.knows(caller.key)

    def _believe(self, stream: Stream[Any, Any]) -> None:
        # Where all are guests, nobody has said anything to be believed.
        if not self.is_open:
            mark_authenticated(stream)

    def _by_token(self, stream: Stream[Any, Any]) -> Identity | None:
        if self._verifier is None:
            return GUEST
        headers = stream.metadata.getall(_HEADER, []) if stream.metadata else []
        if len(headers) > 1:
            raise Unauthenticated("authorization must be given once")
        return self._verifier.bearer(str(headers[0])) if headers else None

    def _certified(self, stream: Stream[Any, Any]) -> Identity:
        certificate = stream.peer.cert()
        for kind, name in (certificate or {}).get("subjectAltName", ()):
            if kind == "DNS" and name in self._proxies:
                return Identity(name, is_proxy=True)
        raise Unauthenticated(_NOBODY)
