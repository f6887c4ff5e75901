"""Hot rooms: what no hash can even out, because rooms differ in traffic."""

from collections.abc import Sequence

from bench.shards.placement import Weights


def relative_loads(
    placed: Sequence[str], traffic: Sequence[float], weights: Weights
) -> dict[str, float]:
    """The traffic of each cluster, as a multiple of its fair share."""
    unit = sum(traffic) / sum(weights.values())
    sums = dict.fromkeys(weights, 0.0)
    for name, load in zip(placed, traffic, strict=True):
        sums[name] += load
    return {name: load / unit / weights[name] for name, load in sums.items()}


def relieve(
    placed: Sequence[str], traffic: Sequence[float], weights: Weights, bound: float
) -> dict[int, str]:
    """Chooses rooms to be placed by hand, so that no cluster has too much traffic.

    It takes the room with the most traffic that fits elsewhere from the busiest cluster to
    the idlest, until the busiest is within the bound, or nothing fits: a room cannot be
    divided.

    Args:
        placed: the cluster of each room.
        traffic: the traffic of each room.
        weights: the clusters.
        bound: the most traffic of a cluster, as a multiple of its fair share.

    Returns:
        The exceptions: rooms, by their number, with their new clusters.
    """
    loads = relative_loads(placed, traffic, weights)
    unit = sum(traffic) / sum(weights.values())
    rooms: dict[str, list[int]] = {name: [] for name in weights}
    for number in sorted(range(len(placed)), key=lambda number: -traffic[number]):
        rooms[placed[number]].append(number)
    exceptions: dict[int, str] = {}
    while True:
        busiest, idlest = max(loads, key=loads.__getitem__), min(loads, key=loads.__getitem__)
        free = (bound - loads[idlest]) * unit * weights[idlest]
        room = next((room for room in rooms[busiest] if traffic[room] <= free), None)
        if loads[busiest] <= bound or room is None:
            return exceptions
        rooms[busiest].remove(room)
        exceptions[room] = idlest
        loads[busiest] -= traffic[room] / unit / weights[busiest]
        loads[idlest] += traffic[room] / unit / weights[idlest]
