"""The clients of a proxy, as the server knows them."""

from chat.access.authenticator import Authenticator
from chat.access.identity import GUEST, Identity
from chat.api.context import authenticated_message
from chat.errors import InvalidArgument, Unauthenticated
from gen.chat import Authenticated


class RelayClients:
    """Their identities, by the proxy's numbers for them. 0 is the number of guests.

    Args:
        authenticator: verifies their tokens.
    """

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._identities: dict[int, Identity] = {0: GUEST} if authenticator.is_open else {}

    def __contains__(self, number: int) -> bool:
        return number in self._identities

    def of(self, number: int) -> Identity:
        """Returns a client's identity.

        Raises:
            Unauthenticated: the client has not presented a token.
        """
        client = self._identities.get(number)
        if client is None:
            raise Unauthenticated("a token is required")
        return client

    def authenticate(self, number: int, token: str) -> Authenticated:
        """Verifies a client's token, the first one or another of the same user.

        Raises:
            InvalidArgument: the number is that of guests, or all callers are guests.
            Unauthenticated: the token is not good.
            PermissionDenied: it is another user's.
        """
        if not number:
            raise InvalidArgument("client", "must be at least 1")
        caller = self._authenticator.verify(token)
        self._identities.get(number, caller).check_same(caller, "authenticate.token")
        answer = authenticated_message(caller)
        self._identities[number] = caller
        return answer

    def discard(self, number: int) -> None:
        """Removes a client that is gone."""
        self._identities.pop(number, None)

    def has_known_keys(self) -> bool:
        """Returns whether the key of each client's token is still among the keys."""
        return all(map(self._authenticator.knows_key_of, self._identities.values()))
