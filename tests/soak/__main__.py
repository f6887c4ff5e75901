"""``python -m tests.soak``: runs for some minutes, and reports."""

import asyncio
import json
import platform
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import click

from tests.soak.run import WORLDS, Plan, blank, soak
from tests.soak.tally import Tally, enough, mib

SAVED: Final = Path(__file__).parents[2] / "bench" / "results" / "soak.json"
_CHAPTER_SECONDS: Final = 60.0


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), default=5.0)
@click.option("--chapter-seconds", type=click.FloatRange(min=1), default=_CHAPTER_SECONDS)
@click.option("--seed", type=int, help="To break the same things again.")
@click.option(
    "--world",
    "worlds",
    type=click.Choice(list(WORLDS)),
    multiple=True,
    default=list(WORLDS),
    help="Only this one; may be repeated.",
)
@click.option("--save", is_flag=True, help="Write bench/results/soak.json.")
def main(
    minutes: float, chapter_seconds: float, seed: int | None, worlds: Sequence[str], save: bool
) -> None:
    """Break everything for a while, and check that nothing was lost."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    click.echo(f"seed {seed}; {minutes:g} minutes, in chapters of {chapter_seconds:g} s")
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    plan = Plan(minutes, chapter_seconds, seed, folder, departures=True)
    problems = run(plan, _progress, SAVED if save else None, worlds)
    if problems:
        click.echo("\n".join(["", f"NOT WELL; databases and logs are in {folder}", *problems]))
        sys.exit(1)
    shutil.rmtree(folder)
    click.echo("\nnothing lost, nothing doubled, nothing out of order")


def run(
    plan: Plan,
    progress: Callable[[Tally, float], None],
    saved: Path | None,
    worlds: Iterable[str] = WORLDS,
) -> list[str]:
    """Runs a soak and reports, however it ends.

    Args:
        plan: its settings.
        progress: see `soak`.
        saved: the file for the figures.
        worlds: where it runs.

    Returns:
        The problems, a line for each.
    """
    tallies, problems = blank(worlds), []
    try:
        asyncio.run(soak(plan, tallies, progress))
    except BaseException as error:
        problems.append(f"it did not come to its end: {error!r}")
        raise
    finally:
        problems += [problem for tally in tallies for problem in tally.judge()]
        click.echo(report(tallies))
        if saved is not None:
            saved.write_text(json.dumps(_results(plan, tallies, problems), indent=1) + "\n")
    return problems


def _progress(tally: Tally, minutes: float) -> None:
    holds = ", ".join(
        f"{name} {mib(samples[-1].memory)}" for name, samples in tally.processes.items()
    )
    click.echo(
        f"{minutes:6.1f} min  {tally.name:7}{tally.stored:10,} stored"
        f"{tally.deliveries:12,} delivered {tally.faults.total():5,} faults"
        f"{len(tally.violations):4} violations  {holds}"
    )


def report(tallies: list[Tally]) -> str:
    """Prints a table of the results: a column for each world."""
    rows: list[tuple[str, list[str]]] = [
        (name.replace("_", " "), [f"{getattr(tally, name):,}" for tally in tallies])
        for name in (
            "chapters", "stored", "confirmed", "refused", "unanswered", "deliveries",
            "connections", "not_recovered", "cut_off", "told_typing", "slowest_departure",
        )
    ]  # fmt: skip
    faults = sorted({fault for tally in tallies for fault in tally.faults})
    rows += [(fault, [f"{tally.faults[fault]:,}" for tally in tallies]) for fault in faults]
    rows.append(("violations", [f"{len(tally.violations):,}" for tally in tallies]))
    for tally in tallies:
        for process, samples in tally.processes.items():
            least, most = (mib(pick(each.memory for each in samples)) for pick in (min, max))
            rows.append((f"memory of the {process}", ["", f"{least} to {most}"]))
        if tally.steady and not all(map(enough, tally.processes.values() or [()])):
            rows.append(("memory not judged", ["", "too few samples"]))
    heading = ("", [tally.name for tally in tallies])
    return "\n".join(f"{label:28}" + "".join(f"{cell:>24}" for cell in cells)
                     for label, cells in (heading, *rows))  # fmt: skip


def _results(plan: Plan, tallies: list[Tally], problems: list[str]) -> dict[str, object]:
    return {
        "minutes": plan.minutes,
        "seed": plan.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "worlds": [tally.to_json() for tally in tallies],
        "problems": problems,
    }


if __name__ == "__main__":
    main()
