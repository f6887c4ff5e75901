"""Writes the files of `--save`: the results, and a chart of the comparison."""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench import chart
from bench.report import Section
from bench.targets import ROOT

RESULTS: Final = ROOT / "bench" / "results" / "results.json"
CHART: Final = ROOT / "docs" / "images" / "bench.svg"

_LIBRARIES: Final = ("aiohttp", "apsw", "grpcio", "grpclib", "orjson", "uvloop")


def save(sections: Mapping[str, Section]) -> list[Path]:
    """Writes new results; results of other benchmarks are kept.

    Returns:
        The files written.
    """
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    about = {"measured": datetime.now(UTC).strftime("%Y-%m-%d"), "machine": machine()}
    for name, section in sections.items():
        results[name] = about | dict(section.data) | {"notes": list(section.notes)}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if "compare" not in sections:
        return [RESULTS]
    CHART.parent.mkdir(parents=True, exist_ok=True)
    CHART.write_text(draw(results["compare"]))
    return [RESULTS, CHART]


def draw(comparison: Mapping[str, Any]) -> str:
    """Draws the comparison of a results file."""
    machine = comparison["machine"]
    caption = (
        f"{comparison['measured']}: {machine['cores']} cores for servers and clients alike,"
        f" Python {machine['python']}, Node {machine['node'] or 'absent'};"
        f" medians of {comparison['rounds']} rounds in turns; in brackets, times Node's."
    )
    return chart.draw(comparison["rows"], caption)


def machine() -> dict[str, object]:
    """The machine and software that the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "node": _node(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def _node() -> str | None:
    node = shutil.which("node")
    if node is None:
        return None
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - found on the PATH
    return answer.stdout.strip().removeprefix("v")
