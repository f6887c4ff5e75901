"""The command that ends the links is found, and no other is blamed for it."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from gen.chat import Join, Presence, RelayCommand
from proxy.core.outbox import Item, Outbox
from proxy.core.suspects import LINKS, Key, Suspects, key_of

numbers = st.integers(1, 300)


def join(number: int) -> RelayCommand:
    return RelayCommand(ref=number, join=Join(f"room {number}"))


def keys(items: Iterable[Item]) -> set[Key]:
    return {key for item in items if (key := key_of(item)) is not None}


@given(numbers, st.sets(st.integers(0, 299)), st.data())
def test_culprit_is_given_up_alone(number: int, before: set[int], data: st.DataObject) -> None:
    items = [join(each) for each in range(number)]
    culprit = data.draw(st.sampled_from(items))
    suspects, outbox = Suspects(), Outbox()
    # Another link died before, for a reason of its own, with some of them.
    suspects.died(keys(item for item in items if item.ref in before), [])
    deaths = 0
    while items:
        outbox.close()
        outbox.open()
        for item in items:
            outbox.put(item, 1)
        while True:
            # At first as much as there is; then in groups, each answered before the next.
            group = outbox.take_apart(suspects.strongly) if suspects else outbox.take()
            if not suspects:
                while more := outbox.take():
                    group += more
            taken = {item.ref for item in group}
            if culprit.ref in taken or not group:
                break
            items = [item for item in items if item.ref not in taken]
        if not group:
            break
        given_up = suspects.died(keys(group), keys(outbox))
        deaths += 1
        assert given_up <= keys([culprit])
        if given_up:
            items = [item for item in items if item is not culprit]
    assert not items
    assert LINKS - 1 <= deaths <= LINKS


def test_living_link_clears_all_suspects() -> None:
    suspects = Suspects()
    for _ in range(5):
        for _ in range(LINKS - 1):
            assert not suspects.died([("join", "room")], [])
        assert suspects.links == LINKS - 1
        suspects.clear()
        assert not suspects.links
        assert not suspects


def test_only_links_that_carried_it_count() -> None:
    suspects = Suspects()
    suspects.died([("join", "a"), ("join", "b")], [])
    for _ in range(5):
        assert not suspects.died([], [("join", "a")])
    # An item that was neither carried nor waits has been answered.
    assert not suspects.died([("join", "b")], [("join", "a")])
    for _ in range(LINKS - 2):
        assert not suspects.died([("join", "a")], [])
    assert suspects.died([("join", "a")], []) == {("join", "a")}


def test_unanswered_item_is_no_suspect() -> None:
    assert key_of(RelayCommand(ref=1, presence=Presence("ada", active=True))) is None
