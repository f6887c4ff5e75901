"""``python -m bench``: runs benchmarks and prints the results; asserts nothing."""

import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import click
import uvloop

from bench import (
    changes,
    codec,
    compare,
    connects,
    history,
    instructions,
    pages,
    results,
    slow,
    store,
    workloads,
)
from bench.attacks import measure as attacks
from bench.nodes import measure as nodes
from bench.options import Effort, Options
from bench.page import measure as page
from bench.processes import TargetError
from bench.report import Section
from bench.shards import measure as shards
from bench.targets import ALL, ROOT

_OPEN_FILES: Final = 16_384


MEASURES: Final[dict[str, Callable[[Options], Awaitable[Section]]]] = {
    "compare": compare.measure,
    "connects": connects.measure,
    "store": store.measure,
    "history": history.measure,
    "pages": pages.measure,
    "changes": changes.measure,
    "codec": codec.measure,
    "slow": slow.measure,
    "attacks": attacks.measure,
    "nodes": nodes.measure,
    "shards": shards.measure,
    "page": page.measure,
    "instructions": instructions.measure,
}


_LONG: Final = ("attacks", "nodes", "page", "instructions")


@click.command()
@click.option("--quick", is_flag=True, help="Shorter, fewer runs: under two minutes.")
@click.option("--full", is_flag=True, help="Longer, more runs, and a room of ten million.")
@click.option("--save", is_flag=True, help="Write bench/results and the chart of the README.")
@click.option(
    "--workload",
    "chosen",
    multiple=True,
    type=click.Choice([each.name for each in workloads.ALL]),
    help="Compare only this; may be repeated.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice([each.name for each in ALL]),
    help="Run only this; may be repeated.",
)
@click.option(
    "--before",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure the page, or count the instructions, of this checkout as well.",
)
@click.argument("names", nargs=-1, type=click.Choice(list(MEASURES)))
def main(
    quick: bool,
    full: bool,
    save: bool,
    chosen: tuple[str, ...],
    targets: tuple[str, ...],
    before: Path | None,
    names: tuple[str, ...],
) -> None:
    """Run the named benchmarks, or all."""
    if quick and full:
        raise click.UsageError("either --quick or --full")
    _allow_open_files()
    effort = Effort.QUICK if quick else Effort.FULL if full else Effort.NORMAL
    options = Options(effort, chosen, targets, before)
    # Too slow for a quick run.
    everything = tuple(name for name in MEASURES if not (quick and name in _LONG))
    sections = uvloop.run(_measure(options, names or everything))
    if save:
        for path in results.save(sections):
            click.echo(f"\nwritten: {path.relative_to(ROOT)}")


async def _measure(options: Options, names: tuple[str, ...]) -> dict[str, Section]:
    sections: dict[str, Section] = {}
    for name in names:
        try:
            sections[name] = await MEASURES[name](options)
        except TargetError as error:
            raise click.ClickException(f"{name}: {error}") from error
        sections[name].print()
    return sections


def _allow_open_files() -> None:
    """Raises the limit of open files, which child processes inherit: one file per client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _OPEN_FILES:
        allowed = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


if __name__ == "__main__":
    main()
