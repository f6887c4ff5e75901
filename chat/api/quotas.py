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
`leave` and `authenticate`. What a user is charged at other nodes counts too: see `settling`.
"""

import time
from functools import partial
from weakref import WeakKeyDictionary, WeakSet

from chat.access.identity import Identity
from chat.api.settling import Key, Tab
from chat.errors import RateLimited
from hosting.rate_limits import Allowance, Bucket, BucketTable, Rates


class Quotas:
    """The allowances of all callers.

    Args:
        rates: requests a second of each kind.
        tab: notes what users spend, if there are other nodes that have to know.

    Attributes:
        tab: the same.
    """

    def __init__(self, rates: Rates, tab: Tab | None = None) -> None:
        self._users: BucketTable[str, Allowance] = BucketTable(partial(Allowance, rates))
        self.tab = tab
        self._guests: WeakKeyDictionary[object, Allowance] = WeakKeyDictionary()
        self._proxies: WeakSet[object] = WeakSet()
        self._rates = rates
        self._free = Allowance(Rates())

    def user(self, user_id: str) -> Allowance:
        """The allowance of a user, to be used at once."""
        tab = self.tab
        if tab is None:
            return self._users.of(user_id)
        return self._users.of(
            user_id, lambda: Allowance(self._rates, make_bucket=partial(tab.bucket, user_id))
        )

    def owe(self, key: Key, seconds: float) -> None:
        """Charges a user with what it has spent at all nodes.

        Args:
            key: the user and the kind of request.
            seconds: how long it takes until that is paid back.
        """
        user_id, kind = key
        bucket: Bucket = getattr(self.user(user_id), kind)
        # What was spent here since it was told is not among it.
        unknown = self.tab.of(key) if self.tab else 0.0
        bucket.lack(time.monotonic(), seconds + unknown)

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
