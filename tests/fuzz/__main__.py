"""Runs the fuzz targets: ``python -m tests.fuzz [--seconds N] [TARGET ...]``.

Each target runs in its own process, as libFuzzer exits the process that it runs
in. Interesting inputs are saved in ``.fuzz/``, where the next run starts. Inputs that make a
target fail are written beside them; add them to ``tests/fuzz/corpus`` once the defect is
fixed: ``TARGET --keep FILE ...``.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
CORPUS = Path(__file__).parent / "corpus"
WORK = ROOT / ".fuzz"
NAMES = sorted(path.stem for path in CORPUS.glob("*.txt"))
INSTRUMENTED = ["codec", "gen", "kitchen_gen", "proxy", "chat"]

_LARGEST = 4096
_SLOWEST_SECONDS = 20


class Result(NamedTuple):
    """The outcome of one target."""

    target: str
    seconds: float
    executions: int
    features: int
    corpus: int
    crash: str


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Run fuzz targets.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together")
    parser.add_argument("--keep", nargs="+", metavar="FILE", help="add inputs to a target's corpus")
    parser.add_argument("--in-process", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_process:
        _fuzz_in_process(options.targets[0], options.in_process)
    unknown = set(options.targets) - set(NAMES)
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    targets = options.targets or NAMES
    if options.keep:
        _keep(targets[0], [Path(each).read_bytes() for each in options.keep])
    elif find_spec("atheris") is None:
        sys.exit("atheris is not installed: see PyPI for the platforms that it has a wheel for")
    else:
        results = [_run(target, options.seconds / len(targets)) for target in targets]
        _print_table(results)
        sys.exit(any(result.crash for result in results))


def _fuzz_in_process(target: str, arguments: list[str]) -> None:
    """Runs libFuzzer in this process; never returns."""
    # Needed only for fuzzing, and not available for every platform.
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    run: Callable[[bytes], Any] = TARGETS[target].run
    run(b"")  # the first run also generates code
    atheris.Setup([sys.argv[0], *arguments], run)
    atheris.Fuzz()


def _command(target: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "tests.fuzz", target, "--in-process", *arguments]


def _run(target: str, seconds: float) -> Result:
    """Fuzzes one target for a given time."""
    print(f"{target}: {seconds:.0f} seconds", flush=True)
    folder = WORK / target
    folder.mkdir(parents=True, exist_ok=True)
    crashes = WORK / f"{target}-"
    with tempfile.TemporaryDirectory() as seeds:
        _write_seeds(target, Path(seeds))
        began = time.monotonic()
        process = subprocess.run(  # noqa: S603 - this program itself
            _command(
                target,
                f"-max_total_time={max(1, round(seconds))}",
                f"-max_len={_LARGEST}",
                f"-timeout={_SLOWEST_SECONDS}",
                f"-artifact_prefix={crashes}",
                "-print_final_stats=1",
                str(folder),
                seeds,
            ),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    return _result(target, time.monotonic() - began, process)


def _result(target: str, seconds: float, process: subprocess.CompletedProcess[str]) -> Result:
    """Parses the output of libFuzzer."""
    executions = re.findall(
        r"^stat::number_of_executed_units:\s*(\d+)", process.stdout, re.MULTILINE
    )
    states = re.findall(r"^#\d+\s.* ft: (\d+) corp: (\d+)/", process.stdout, re.MULTILINE)
    written = re.findall(r"Test unit written to (\S+)", process.stdout)
    features, corpus = states[-1] if states else (0, 0)
    crash = written[-1] if written else ""
    if process.returncode and not crash:
        crash = f"status {process.returncode}"
    number = int(executions[-1]) if executions else 0
    if not number and not crash:
        crash = "nothing was tried"
    if crash:
        print(process.stdout[-6000:])
    return Result(target, seconds, number, int(features), int(corpus), crash)


def _print_table(results: list[Result]) -> None:
    print(f"\n{'target':10}{'executions':>12}{'a second':>10}{'features':>10}{'corpus':>8}  crash")
    for each in results:
        speed = each.executions / each.seconds
        print(
            f"{each.target:10}{each.executions:12,}{speed:10,.0f}{each.features:10,}"
            f"{each.corpus:8,}  {each.crash or 'none'}"
        )


def _write_seeds(target: str, folder: Path) -> None:
    from tests.fuzz.targets import TARGETS, corpus

    for number, data in enumerate([*TARGETS[target].seeds(), *corpus(target)]):
        (folder / str(number)).write_bytes(data)


def _keep(target: str, inputs: list[bytes]) -> None:
    """Adds inputs to the corpus that the tests replay."""
    from tests.fuzz.targets import corpus

    path = CORPUS / f"{target}.txt"
    path.touch()
    known = {*corpus(target), *inputs}
    lines = [b64encode(data).decode() for data in sorted(known, key=lambda each: (len(each), each))]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


if __name__ == "__main__":
    main()
