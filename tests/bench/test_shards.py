"""The placement of rooms on clusters, on which the page about scale relies."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bench.shards.placement import Weights, least_share, rendezvous
from bench.shards.relief import relative_loads, relieve

ROOMS = [f"room-{number}" for number in range(300)]
CLUSTERS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 5), min_size=1)


def placed(weights: Weights) -> list[str]:
    return list(map(rendezvous(weights), ROOMS))


@given(CLUSTERS, st.sampled_from("abcdefgh"), st.integers(1, 5))
def test_only_rooms_of_the_changed_cluster_move(
    weights: dict[str, int], name: str, weight: int
) -> None:
    after = {**weights, name: weight}
    grows = weight >= weights.get(name, 0)
    for old, new in zip(placed(weights), placed(after), strict=True):
        assert new == old or name == (new if grows else old)


@given(st.permutations("abcdef"))
def test_order_of_clusters_means_nothing(names: list[str]) -> None:
    assert placed(dict.fromkeys(names, 1)) == placed(dict.fromkeys("abcdef", 1))


def test_weights_are_shares() -> None:
    rooms = [f"room-{number}" for number in range(20_000)]
    found = Counter(map(rendezvous({"a": 1, "b": 2, "c": 5}), rooms))
    for name, share in (("a", 1 / 8), ("b", 2 / 8), ("c", 5 / 8)):
        # Six standard deviations, of a fixed sample.
        assert abs(found[name] / len(rooms) - share) < 0.02


def test_least_share_of_a_cluster_that_joins_seven() -> None:
    seven = dict.fromkeys("abcdefg", 1)
    assert abs(least_share(seven, {**seven, "h": 1}) - 1 / 8) < 1e-9
    assert abs(least_share({**seven, "h": 1}, seven) - 1 / 8) < 1e-9


@given(CLUSTERS, st.lists(st.floats(0.01, 100), min_size=1, max_size=60), st.floats(1.0, 2.0))
def test_relief_makes_no_cluster_busier_than_the_busiest_was(
    weights: dict[str, int], traffic: list[float], bound: float
) -> None:
    before = [rendezvous(weights)(ROOMS[number]) for number in range(len(traffic))]
    exceptions = relieve(before, traffic, weights, bound)
    after = [exceptions.get(number, name) for number, name in enumerate(before)]
    worst = max(relative_loads(before, traffic, weights).values())
    assert max(relative_loads(after, traffic, weights).values()) <= max(worst, bound) + 1e-9
    assert set(exceptions.values()) <= set(weights)


def test_relief_spreads_rooms_that_share_a_cluster() -> None:
    placed = ["a", "a", "a", "a", "b"]
    exceptions = relieve(placed, [5, 3, 1, 1, 2], {"a": 1, "b": 1}, 1.1)
    assert exceptions == {1: "b", 2: "b"}
