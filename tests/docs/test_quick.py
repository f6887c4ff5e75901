"""The short form of the tests covers every part and excludes slow files."""

import pytest

from tests.docs.markdown import ROOT
from tests.quick import FOLDERS, SLOW, is_quick

TESTS = ROOT / "tests"


@pytest.mark.parametrize("name", sorted(SLOW | set(FOLDERS)))
def test_named_files_exist(name: str) -> None:
    assert (TESTS / name).exists()


def test_quick_tests_cover_parts_without_slow() -> None:
    quick = {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py") if is_quick(path)}
    for folder in FOLDERS:
        assert any(path.is_relative_to(folder) for path in quick)
    assert not {path.as_posix() for path in quick} & SLOW
    assert len(quick) > 40
