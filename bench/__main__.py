"""``python -m bench [--quick] [NAME ...]``: measures and prints; asserts nothing."""

from __future__ import annotations

from typing import Protocol

import click

from bench import history


class Measure(Protocol):
    """What a bench offers."""

    def __call__(self, *, quick: bool) -> None:
        """Measures and prints."""


MEASURES: dict[str, Measure] = {"history": history.main}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer and smaller runs.")
@click.argument("names", nargs=-1, type=click.Choice(sorted(MEASURES)))
def main(quick: bool, names: tuple[str, ...]) -> None:
    """Measure what is named, or everything."""
    for name in names or MEASURES:
        MEASURES[name](quick=quick)


if __name__ == "__main__":
    main()
