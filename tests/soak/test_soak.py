"""The soak itself: a short one runs, and its verdict tells good from bad."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.history import Delivered, History, Message, Outcome, Send
from tests.faults.world import seeded
from tests.soak.__main__ import report, run
from tests.soak.run import Plan, blank, digest, soak
from tests.soak.tally import Sample, Tally, growth

# Longer than the patience of its waiters.
pytestmark = pytest.mark.timeout(400)

MIB = 2**20


def samples(*sizes: int, files: int = 20) -> list[Sample]:
    return [Sample(minute, size * MIB, files) for minute, size in enumerate(sizes)]


def tried(name: str, **seen: Any) -> Tally:
    """The tally of a conclusive run."""
    return Tally(name, stored=1, deliveries=1, **{"told_typing": 1, **seen})


@pytest.mark.usefixtures("postgres_programs", "valkey_program")
async def test_short_soak_finds_no_problem(tmp_path: Path) -> None:
    told: list[float] = []
    with seeded() as chance:
        plan = Plan(0.05, 3, chance.randrange(2**32), tmp_path, longest=1)
        tallies = blank()
        await soak(plan, tallies, lambda _, minutes: told.append(minutes))
        assert [problem for tally in tallies for problem in tally.judge()] == []
    assert len(told) == sum(tally.chapters for tally in tallies) >= 2
    for tally in tallies:
        assert tally.stored > 0
        assert tally.deliveries > tally.stored
        assert tally.faults.total() > 0
    assert list(tallies[1].processes) == ["server", "proxy"]
    assert f"{tallies[0].stored:,}" in report(tallies)
    assert "memory not judged" in report(tallies)


def test_aborted_soak_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def break_off(tally: Tally, _: float) -> None:
        raise RuntimeError(f"{tally.name} breaks off")

    saved = tmp_path / "soak.json"
    with pytest.raises(ExceptionGroup):
        run(Plan(0.05, 3, 1, tmp_path), break_off, saved, ("rough", "gentle"))
    results = json.loads(saved.read_text())
    assert "breaks off" in results["problems"][0]
    assert any(world["stored"] and world["minutes"] for world in results["worlds"])
    assert "deliveries" in capsys.readouterr().out


def test_chapter_totals_are_counted() -> None:
    stored = Message("attic", 1, "ada", "1", "hello")
    history = History(
        sends=[Send("attic", "ada", "1", "hello", outcome, 1) for outcome in Outcome],
        seen=[Delivered("bob/1", stored)],
        stored=[stored],
    )
    tally = Tally("gentle")
    tally.add(history)
    tally.add(history)
    counts = (tally.chapters, tally.stored, tally.confirmed, tally.refused, tally.unanswered)
    assert counts == (2,) * 5
    assert tally.deliveries == 2


def test_tally_can_be_saved() -> None:
    tally = Tally("rough", faults=Counter({"server killed": 2}))
    tally.sample("server", Sample(1.0, 2, 3))
    saved = json.loads(json.dumps(tally.to_json()))
    assert saved["faults"] == {"server killed": 2}
    assert saved["processes"] == {"server": [{"minute": 1.0, "memory": 2, "files": 3}]}


def test_violations_are_problems() -> None:
    tally = tried("rough", violations=["attic: a gap"])
    assert tally.judge() == ["rough: attic: a gap"]


def test_unchecked_run_is_a_problem() -> None:
    assert Tally("gentle").judge() == [
        "gentle: nothing was stored",
        "gentle: nothing was delivered",
    ]


def test_long_run_needs_each_fault() -> None:
    kinds = ("link reset", "link slow")
    tally = tried("rough", kinds=kinds, faults=Counter({"link slow": 3}), minutes=9.9)
    assert tally.judge() == []
    tally.minutes = 10.0
    assert tally.judge() == ["rough: never happened: link reset"]


def test_long_run_needs_typists() -> None:
    assert tried("rough", minutes=9.9, told_typing=0).judge() == []
    problems = tried("rough", minutes=10.0, told_typing=0).judge()
    assert problems == ["rough: nobody was seen to type"]


def test_long_run_needs_cut_off_readers() -> None:
    tally = tried("gentle", steady=True, minutes=10.0)
    assert tally.judge() == ["gentle: nobody who had stopped to read was cut off"]
    tally.cut_off = 1
    assert tally.judge() == []


@pytest.mark.parametrize(
    "flat",
    [
        samples(50, 80, 90, 90, 91, 90, 92, 91),
        samples(50, 60, 70, 80),
        samples(90, 90, 90, 90, 90, 90, 90, 60),
    ],
    ids=["caches that fill", "too few to tell", "less"],
)
def test_flat_memory_is_no_problem(flat: list[Sample]) -> None:
    assert growth("server", flat) == []


def test_growing_memory_is_a_problem() -> None:
    tally = tried("gentle", processes={"server": samples(50, 60, 70, 80, 90, 100, 110, 120)})
    assert tally.judge() == ["gentle: the server grew from 75.0 MiB to 115.0 MiB"]


def test_open_files_are_a_problem() -> None:
    found = growth("proxy", samples(*[50] * 6, files=20) + samples(50, 50, files=40))
    assert found == ["the proxy went from 20 to 40 open files"]


def test_fingerprint_covers_whole_room() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    messages = [Message("attic", seq, "ada", str(seq), "hello") for seq in range(1, 9)]
    other = Message("lobby", 1, "ada", "1", "hello")
    assert digest([other, *messages], "attic") == digest(messages, "attic")
    changed = list(messages)
    place = chance.randrange(len(messages))
    changed[place] = changed[place]._replace(content="hello?")
    assert digest(changed, "attic") != digest(messages, "attic")
    assert digest(messages[:-1], "attic") != digest(messages, "attic")
