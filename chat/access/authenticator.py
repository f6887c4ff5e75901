"""Authentication of callers, by a token or a certificate: no I/O of its own.

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

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final

from chat.access.identity import GUEST, Identity
from chat.access.tokens import TokenVerifier
from chat.errors import InvalidArgument, Unauthenticated

_NOBODY: Final = "a token is required"


Certificate = Mapping[str, Any]
"""A certificate that was verified in the handshake, as `ssl.SSLSocket.getpeercert` gives it."""


class Authenticator:
    """Authenticates callers.

    Args:
        verifier: verifies tokens; without one, all callers are guests.
        proxies: the DNS names in certificates (RFC 9525) of proxies.

    Attributes:
        is_open: whether all callers are guests.
    """

    def __init__(
        self, verifier: TokenVerifier | None = None, proxies: Container[str] = frozenset()
    ) -> None:
        self.is_open = verifier is None
        self._verifier = verifier
        self._proxies = proxies

    def caller(self, authorization: Sequence[str]) -> Identity:
        """Returns the identity of a caller, by its token.

        Args:
            authorization: the values of that header.

        Raises:
            Unauthenticated: there is no token, or it is not good.
        """
        caller = self._by_token(authorization)
        if caller is None:
            raise Unauthenticated(_NOBODY)
        return caller

    def proxy(
        self, authorization: Sequence[str], certificate: Callable[[], Certificate | None]
    ) -> Identity:
        """Returns the identity of a proxy that opens a batch stream, by token or certificate.

        Args:
            authorization: the values of that header.
            certificate: returns the caller's certificate.

        Raises:
            Unauthenticated: it has neither, or they are not good.
            PermissionDenied: the caller is no proxy.
        """
        caller = self._by_token(authorization) or self._by_certificate(certificate())
        caller.check_proxy()
        return caller

    def verify(self, token: str) -> Identity:
        """Returns the identity of a token that came in a message.

        Raises:
            InvalidArgument: all callers are guests.
            Unauthenticated: it is not good.
        """
        if self._verifier is None:
            raise InvalidArgument("authenticate", "this server asks for no tokens")
        return self._verifier.verify(token)

    def refresh(self) -> int:
        """Reads the keys again if they were replaced; returns how often they have been read."""
        return 0 if self._verifier is None else self._verifier.refresh()

    def knows_key_of(self, caller: Identity) -> bool:
        """Returns whether the key of a caller's token is still among the keys."""
        return self._verifier is None or caller.key is None or self._verifier.knows(caller.key)

    def _by_token(self, authorization: Sequence[str]) -> Identity | None:
        if self._verifier is None:
            return GUEST
        if len(authorization) > 1:
            raise Unauthenticated("authorization must be given once")
        return self._verifier.bearer(authorization[0]) if authorization else None

    def _by_certificate(self, certificate: Certificate | None) -> Identity:
        for kind, name in (certificate or {}).get("subjectAltName", ()):
            if kind == "DNS" and name in self._proxies:
                return Identity(name, is_proxy=True)
        raise Unauthenticated(_NOBODY)
