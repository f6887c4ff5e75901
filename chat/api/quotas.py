"""Rate limits of callers, and the allowance that a request is charged to.

===========================  ==============================================
caller                       is charged to
===========================  ==============================================
a user, by either door       the user, over all connections and proxies
a guest at the gRPC door     the connection
a guest behind a proxy       nothing here: the proxy limits its connections
a proxy for itself           nothing
===========================  ==============================================

Behind a proxy, a user's messages, joins and unary calls are charged here. The proxy alone counts
`leave` and `authenticate`.
"""

import time
from functools import partial
from weakref import WeakKeyDictionary, WeakSet

from chat.access.identity import Identity
from chat.errors import RateLimited
from hosting.rate_limits import Allowance, Bucket, BucketTable, Rates


class Quotas:
    """The allowances of all callers.

    Args:
        rates: requests a second of each kind.
    """

    def __init__(self, rates: Rates) -> None:
        self._users: BucketTable[str, Allowance] = BucketTable(partial(Allowance, rates))
        self._guests: WeakKeyDictionary[object, Allowance] = WeakKeyDictionary()
        self._proxies: WeakSet[object] = WeakSet()
        self._rates = rates
        self._free = Allowance(Rates())

    def user(self, user_id: str) -> Allowance:
        """The allowance of a user, to be used at once."""
        return self._users.of(user_id)

    def of(self, caller: Identity, connection: object) -> Allowance:
        """Returns a caller's allowance, to be used at once."""
        if caller.subject is not None:
            return self._free if caller.is_proxy else self.user(caller.subject)
        if connection in self._proxies:
            return self._free
        found = self._guests.get(connection)
        if found is None:
            found = self._guests[connection] = Allowance(self._rates)
        return found

    def exempt_connection(self, connection: object) -> None:
        """Marks a connection as a proxy's, whose calls are those of its clients."""
        self._proxies.add(connection)

    def is_exempt(self, connection: object) -> bool:
        """Returns whether a connection is a proxy's."""
        return connection in self._proxies


def charge(bucket: Bucket, text: str) -> None:
    """Takes one request out of an allowance.

    Args:
        bucket: the part of the allowance.
        text: the text of the refusal.

    Raises:
        RateLimited: nothing is left; it says when to try again.
    """
    wait = bucket.take(time.monotonic())
    if wait:
        raise RateLimited(text, wait)
