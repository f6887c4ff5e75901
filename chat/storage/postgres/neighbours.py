"""Other nodes, as far as they are heard on the bus: no I/O.

A node shows itself by the name of its link to the bus, which begins with the node's own. It has
one link at a time: another name means that the node, or its link, was away, and may have missed
what was told meanwhile.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

# A bound on memory, whatever somebody publishes.
_MOST: Final = 1000


def link_name(node: str, nth: int) -> str:
    """Returns the name of a node's link."""
    return f"{node}-{nth}"


def node_of(link: str) -> str:
    """Returns the node of a link. Those of before have a new name with each link."""
    return link.partition("-")[0]


class _Heard(NamedTuple):
    """The link of a node, and when it was heard last."""

    link: str
    at: float


class Neighbours:
    """The nodes that were heard, by their names."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._heard))

    def hear(self, link: str, at: float) -> bool:
        """Notes that a link was heard at a time; returns whether it was not known."""
        node = node_of(link)
        before = self._heard.get(node)
        if before is None and len(self._heard) >= _MOST:
            return False
        self._heard[node] = _Heard(link, at)
        return before is None or before.link != link

    def leave(self, link: str) -> bool:
        """Notes that a link was closed in order; returns whether its node is gone with it."""
        node = node_of(link)
        if node not in self._heard or self._heard[node].link != link:
            return False
        del self._heard[node]
        return True

    def forget_silent(self, oldest: float) -> list[str]:
        """Forgets the nodes that were not heard since a time; returns them."""
        silent = [node for node, heard in self._heard.items() if heard.at < oldest]
        for node in silent:
            del self._heard[node]
        return silent
