"""The short form of the tests is what it is said to be."""

from __future__ import annotations

import pytest

from tests.docs.markdown import ROOT
from tests.quick import FOLDERS, SLOW, is_quick

TESTS = ROOT / "tests"


@pytest.mark.parametrize("name", sorted(SLOW | set(FOLDERS)))
def test_what_is_named_is_there(name: str) -> None:
    assert (TESTS / name).exists()


def test_it_has_all_parts_of_a_message_on_its_way_and_nothing_that_takes_long() -> None:
    quick = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py") if is_quick(path)}
    for folder in FOLDERS:
        assert any(path.is_relative_to(folder) for path in quick)
    assert not {path.as_posix() for path in quick} & SLOW
    assert len(quick) > 40
