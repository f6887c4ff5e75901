"""Replays the inputs that the fuzzer found, without the fuzzer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import CORPUS, TARGETS, corpus


@pytest.mark.parametrize("name", TARGETS)
def test_stored_inputs_pass(name: str) -> None:
    inputs = corpus(name)
    assert inputs
    for data in inputs:
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_pass(name: str) -> None:
    for data in TARGETS[name].seeds():
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=50)
@given(data=st.binary(max_size=200))
def test_random_bytes_pass(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_corpora_have_targets_and_are_small() -> None:
    files = list(CORPUS.iterdir())
    assert {path.stem for path in files} == TARGETS.keys()
    assert sum(path.stat().st_size for path in files) < 200 * 1024
