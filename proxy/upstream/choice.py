"""Which server the next link goes to, and when: no I/O.

Any of several servers will do: they share a database. What happened to the links made so far
gives each of them a standing::

    GOOD        nothing is known against it
    LEFT        its link was lost, or it could not be reached      for 10 s
    REFUSING    it said that it does not serve: NOT_SERVING        for 10 s
    SILENT      it did not answer in time                          until it works

The next one is drawn at random among the good ones: so the proxies spread over the servers, and
those of a server that died spread over the rest. If none is good, the one with the best standing
is next, and of several the one whose trouble is the longest ago: never the one that was
just left, if there is another. A server that could not
be reached, or whose link was lost soon after it was made, also rests. Its rest is drawn
at random up to a bound that doubles with each failure in a row (exponential backoff with full
jitter), so that many proxies do not come back at the same moment. Only if all of them rest, the
proxy has to wait. A single server is a special case of this, and not a rule of its own.

A silent server costs more than any other, since each attempt waits for an answer: it is drawn
only if there is nothing else. Beside a link that goes on, an attempt costs nothing: so
`beside` draws among all of them, and gives each the chance to work again.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from random import Random
from typing import Final

LONGEST_REST: Final = 2.0
"""The most that a server rests, in seconds."""

# The bound of the first rest, in seconds.
_FIRST_REST: Final = 0.05
# So many doublings are more than the longest rest.
_DOUBLINGS: Final = 16
# How long a server that was left, or that does not serve, is drawn behind others.
_DOUBT_SECONDS: Final = 10.0
# Suspected commands wait so long for a server that died of them: it restarts meanwhile.
_CONFINED_SECONDS: Final = 4.0


@dataclass(frozen=True, slots=True)
class Server:
    """One address of a chat server.

    Attributes:
        name: the ``host:port`` of the settings by which it is known.
        host: the host of that name; TLS verifies it.
        port: the TCP port.
        address: an address of the host, or the host itself if it could not be looked up.
    """

    name: str
    host: str
    port: int
    address: str


class Standing(IntEnum):
    """What is known against a server; less is better."""

    GOOD = 0
    LEFT = 1
    REFUSING = 2
    SILENT = 3


@dataclass(slots=True)
class _Record:
    """What is known of a server: failures in a row, and times by the clock of the caller."""

    failures: int = 0
    rests_until: float = -inf
    standing: Standing = Standing.GOOD
    doubted_at: float = -inf
    doubted_until: float = -inf


class Choice:
    """Draws servers. All times are in seconds, by one clock.

    Args:
        chance: the source of randomness.
    """

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._records: dict[Server, _Record] = {}

    # What happened.

    def worked(self, server: Server) -> None:
        """Notes that a link to a server has lived: all that was held against it is forgotten."""
        self._records.pop(server, None)

    def failed(self, server: Server, now: float, *, silent: bool = False) -> int:
        """Notes that a link could not be made, or was lost soon: the server rests.

        Args:
            server: the server.
            now: the time.
            silent: whether it did not answer in time.

        Returns:
            The number of failures in a row.
        """
        self.lost(server, now, silent=silent)
        record = self._records[server]
        most = _FIRST_REST * 2.0 ** min(record.failures, _DOUBLINGS)
        record.failures += 1
        record.rests_until = now + self._chance.uniform(0, min(most, LONGEST_REST))
        return record.failures

    def lost(self, server: Server, now: float, *, silent: bool = False) -> None:
        """Notes that a link was lost that had lived: others go first."""
        self._doubt(server, Standing.SILENT if silent else Standing.LEFT, now)

    def refused(self, server: Server, now: float) -> None:
        """Notes that a server said that it does not serve."""
        self._doubt(server, Standing.REFUSING, now)

    def forget_all_but(self, servers: Collection[Server]) -> None:
        """Forgets what is known of servers that there are no more."""
        for server in self._records.keys() - set(servers):
            del self._records[server]

    # What to do.

    def pick(self, servers: Sequence[Server], now: float) -> Server | None:
        """Draws the server for the next link; `None` if all of them rest."""
        awake = self._awake(servers, now)
        good = [each for each in awake if self.standing(each, now) is Standing.GOOD]
        if good:
            return self._chance.choice(good)
        return min(
            awake,
            key=lambda each: (self.standing(each, now), self._of(each).doubted_at),
            default=None,
        )

    def rest(self, servers: Sequence[Server], now: float) -> float:
        """Returns the time until one of the servers has rested; 0 if one has."""
        return max(0.0, min((self._of(each).rests_until for each in servers), default=now) - now)

    def has_better(self, servers: Sequence[Server], than: Server, now: float) -> bool:
        """Returns whether one of the servers could be had at once, and stands better."""
        standing = self.standing(than, now)
        return any(self.standing(each, now) < standing for each in self._awake(servers, now))

    def beside(
        self, servers: Sequence[Server], current: Server, now: float, *, leaving: bool
    ) -> Server | None:
        """Draws the server to try while the link to the current one goes on.

        Args:
            servers: all servers.
            current: the one that the link goes to.
            now: the time.
            leaving: whether that does not serve: then any other that may serve is better.

        Returns:
            The server; `None` if the link is to stay where it is.
        """
        if leaving:
            others = [each for each in servers if each != current]
            found = self.pick(others, now)
            refuses = found is None or self.standing(found, now) is Standing.REFUSING
            return None if refuses else found
        awake = self._awake(servers, now)
        found = self._chance.choice(awake) if awake else None
        return None if found == current else found

    def recycle_after(self, seconds: float) -> float:
        """Draws the time until a link is drawn anew, of an average: so they do not all move."""
        return self._chance.uniform(0.5, 1.5) * seconds

    def standing(self, server: Server, now: float) -> Standing:
        """Returns what is known against a server."""
        record = self._of(server)
        return record.standing if now < record.doubted_until else Standing.GOOD

    def _doubt(self, server: Server, standing: Standing, now: float) -> None:
        record = self._records.setdefault(server, _Record())
        record.standing, record.doubted_at = standing, now
        record.doubted_until = inf if standing is Standing.SILENT else now + _DOUBT_SECONDS

    def _awake(self, servers: Sequence[Server], now: float) -> list[Server]:
        return [each for each in servers if self._of(each).rests_until <= now]

    def _of(self, server: Server) -> _Record:
        return self._records.get(server) or _Record()


class Confinement:
    """Keeps commands that servers may have died of away from the other servers.

    A command may be deadly (`proxy.core.suspects`). A server that dies cannot tell its proxy
    whether it died of one, and its clients are to go on at once: so the next server gets
    what was not answered. If that dies, too, soon after, it is hardly chance any more: until the
    culprit is found, links go to these two, as soon as one of them is back, and to a third server
    only if none is back in time.
    """

    def __init__(self) -> None:
        # Those whose links died since one lived.
        self._victims: set[Server] = set()
        self._until = -inf

    def died(self, server: Server, now: float, *, suspected: bool) -> None:
        """Notes that a link was lost without a word of the server.

        Args:
            server: the server.
            now: the time.
            suspected: whether it may have died of a command that is to be sent again.
        """
        self._victims.add(server)
        is_no_chance = suspected and len(self._victims) > 1
        self._until = now + _CONFINED_SECONDS if is_no_chance else -inf

    def clear(self) -> None:
        """Notes that a link lived with all that was sent on it."""
        self._victims.clear()
        self._until = -inf

    def allowed(self, servers: Sequence[Server], now: float) -> Sequence[Server]:
        """Returns the servers that the next link may go to; all of them if none has died."""
        if now >= self._until:
            return servers
        return [each for each in servers if each in self._victims] or servers

    def rest(self, now: float) -> float:
        """Returns the time until all servers are allowed again."""
        return max(0.0, self._until - now)
