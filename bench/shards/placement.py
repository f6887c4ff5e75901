"""Ways to place rooms on clusters: pure functions of the room and of the clusters' weights.

A room lives on one cluster, whole: no transaction and no order crosses rooms. So that
every process finds it without asking, its cluster follows from a hash of its id and from
the list of clusters. What matters is what happens to the rooms when the list changes: a room
whose cluster is another one has to be copied. At the least, those rooms have to move by
which some clusters grow (`least_share`).

- Modulo: the remainder of the hash. Nearly all rooms move with every change. For scale.
- Ring (Karger and others, 1997): each cluster owns arcs of a circle of hashes.
- Jump (Lamping and Veach, 2014, https://arxiv.org/abs/1406.2294): computes the bucket
  without a table, and as evenly as a hash can. But buckets are numbered, so that only the
  last can go: where another one does, the last must take its number.
- Rendezvous (Thaler and Ravishankar, 1998), with weights by the logarithmic method
  (Schindelhauer and Schomaker, 2005): each cluster draws a score from the hash of room and
  cluster, scaled by its weight, and the highest has the room. Any cluster may come, go or
  change its weight, and no room moves that need not.
"""

import math
from bisect import bisect
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Final

Weights = Mapping[str, int]
"""The clusters, each with its weight: the share of rooms that it should have."""

Place = Callable[[str], str]
"""Returns the cluster of a room."""

_RING_POINTS: Final = 128
_CACHED: Final = 1 << 21


def modulo(weights: Weights) -> Place:
    """Places by the remainder of the hash, with a bucket for each unit of weight."""
    buckets = [name for name, weight in weights.items() for _ in range(weight)]
    return lambda room_id: buckets[_hash(room_id) % len(buckets)]


def ring(weights: Weights) -> Place:
    """Places on a ring, with 128 points for each unit of weight."""
    points = sorted(
        (_hash(f"{name}#{number}"), name)
        for name, weight in weights.items()
        for number in range(weight * _RING_POINTS)
    )
    hashes = [point for point, _ in points]
    return lambda room_id: points[bisect(hashes, _hash(room_id)) % len(points)][1]


def jump(weights: Weights) -> Place:
    """Places by jump consistent hash, with a bucket for each unit of weight.

    Buckets are numbered in the order of the clusters. The second ones of heavier clusters
    come behind the first ones of all, so that a weight that grows adds a last bucket.
    """
    most = max(weights.values())
    buckets = [
        name for number in range(most) for name, weight in weights.items() if weight > number
    ]
    return lambda room_id: buckets[_jump(_hash(room_id), len(buckets))]


def rendezvous(weights: Weights) -> Place:
    """Places by the highest score."""
    clusters = tuple(weights.items())

    def place(room_id: str) -> str:
        # As in a race of exponential clocks, the first to ring: -log(uniform) / weight.
        return min(clusters, key=lambda each: _draw(each[0], room_id) / each[1])[0]

    return place


def least_share(before: Weights, after: Weights) -> float:
    """The share of rooms that has to move, from one even placement to another."""
    total_before, total_after = sum(before.values()), sum(after.values())
    return sum(
        max(0.0, weight / total_after - before.get(name, 0) / total_before)
        for name, weight in after.items()
    )


@lru_cache(maxsize=_CACHED)
def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


@lru_cache(maxsize=_CACHED)
def _draw(name: str, room_id: str) -> float:
    digest = blake2b(room_id.encode(), digest_size=8, key=name.encode()).digest()
    return -math.log((int.from_bytes(digest) + 1) / (1 << 64))


def _jump(key: int, buckets: int) -> int:
    """The algorithm of the paper; the constants are those of its generator."""
    at, following = -1, 0
    while following < buckets:
        at = following
        key = (key * 2862933555777941757 + 1) & (2**64 - 1)
        following = int((at + 1) * ((1 << 31) / ((key >> 33) + 1)))
    return at
