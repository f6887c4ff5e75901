"""Connections that make room, against a plain list of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hosting.places import Strangers
from tests.cost import cost

steps = st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from("ab")))


@given(steps)
def test_the_oldest_of_all_and_of_an_address(steps: list[tuple[bool, int, str]]) -> None:
    strangers: Strangers[int] = Strangers()
    model: dict[int, str] = {}
    for is_new, connection, address in steps:
        if not is_new:
            strangers.discard(connection)
            model.pop(connection, None)
        elif connection not in model:
            strangers.add(connection, address)
            model[connection] = address
        assert strangers.oldest() == next(iter(model), None)
        for each in "ab":
            mine = [known for known, where in model.items() if where == each]
            assert strangers.oldest(each) == next(iter(mine), None)


def test_it_costs_the_same_however_many_there_are() -> None:
    def crowd(number: int) -> Strangers[int]:
        strangers: Strangers[int] = Strangers()
        for each in range(number):
            strangers.add(each, f"address {each}")
        return strangers

    def make_room(strangers: Strangers[int]) -> None:
        strangers.add(-1, "mine")
        assert strangers.oldest("mine") == -1
        assert strangers.oldest("another") is None
        strangers.discard(-1)

    few, many = [crowd(number) for number in (10, 10_000)]
    assert cost(lambda: make_room(many)).lines == cost(lambda: make_room(few)).lines
