"""Places for connections, against a plain list of them."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from hosting.places import Places
from tests.cost import cost

LIMIT, PER_ADDRESS = 5, 3


@dataclass(eq=False)
class Connection:
    """A connection that records its end."""

    address: str
    aborted: bool = False
    proven: bool = field(default=False)

    def abort(self) -> None:
        self.aborted = True


steps = st.lists(st.tuples(st.sampled_from(["add", "prove", "discard"]), st.integers(0, 9)))


@given(steps, st.sampled_from([0, PER_ADDRESS]))
def test_places_match_a_plain_list(steps: list[tuple[str, int]], per_address: int) -> None:
    places: Places[Connection] = Places(LIMIT, per_address)
    model: list[Connection] = []
    for step, number in steps:
        if step == "add":
            new = Connection("ab"[number % 2])
            mine = [each for each in model if each.address == new.address]
            crowded = bool(per_address) and len(mine) >= per_address
            victims = [each for each in (mine if crowded else model) if not each.proven]
            if not crowded and len(model) < LIMIT:
                victim, has_room = None, True
            else:
                victim = next(iter(victims), None)
                has_room = victim is not None
            assert places.try_add(new, new.address) is has_room
            if victim is not None:
                model.remove(victim)
                assert victim.aborted
            if has_room:
                model.append(new)
        elif model:
            known = model[number % len(model)]
            if step == "prove":
                places.prove(known)
                known.proven = True
            else:
                places.discard(known)
                places.discard(known)
                model.remove(known)
        assert list(places) == model
        assert not any(each.aborted for each in model)
        assert len(places) == len(model) <= LIMIT


def test_places_take_constant_work() -> None:
    def crowd(number: int) -> Places[Connection]:
        places: Places[Connection] = Places(number)
        for each in range(number):
            places.try_add(Connection(f"address {each}"), f"address {each}")
        return places

    def make_room(places: Places[Connection]) -> None:
        # The first makes room for this one, and this one for another of its address.
        new = Connection("mine")
        assert places.try_add(new, "mine")
        places.prove(new)
        places.discard(new)

    few, many = [crowd(number) for number in (10, 10_000)]
    assert cost(lambda: make_room(many)).lines == cost(lambda: make_room(few)).lines
