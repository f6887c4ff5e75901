"""What safety costs: the project with tokens, and with TLS, beside itself without."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import trustme

from bench import meter, targets, workloads
from bench.load.job import Result
from bench.options import Effort, Options
from bench.report import Section, Table, progress
from bench.rounds import drive, make_job
from bench.targets import HOST, PROJECT, Target
from bench.workloads import Workload
from chat.token import load_key, mint

_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.FULL: 7}
_WORKLOADS: Final = (workloads.ECHO_16, workloads.FAN_OUT)
_WARM_UP_SECONDS: Final = 3.0
_SECONDS: Final = 4.0
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Variant:
    """The project with some of its safety.

    Attributes:
        label: what it is called in the table.
        target: how it is started.
        token: what its clients present.
        authority: the file with the certificate that its own is signed by.
    """

    label: str
    target: Target
    token: str = ""
    authority: str = ""


@contextmanager
def variants() -> Iterator[list[Variant]]:
    """Makes the keys, tokens and certificates that are compared."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        token, server, proxy = _tokens(folder)
        authority, tls_server, tls_proxy = _certificates(folder)
        yield [
            Variant("neither", PROJECT),
            Variant("tokens", _with("tokens", server, proxy), token),
            Variant(
                "tokens and TLS on both links",
                _with("tls", [*server, *tls_server], [*proxy, *tls_proxy]),
                token,
                authority,
            ),
        ]


def _with(name: str, server: Sequence[str], proxy: Sequence[str]) -> Target:
    """The project with further options."""

    def start_server(folder: Path) -> list[str]:
        if PROJECT.server is None:
            raise AssertionError("the project has a server")
        return [*PROJECT.server(folder), *server]

    return Target(name, name, start_server, lambda upstream: [*PROJECT.proxy(upstream), *proxy])


def _tokens(folder: Path) -> tuple[str, list[str], list[str]]:
    """Makes a key; returns a token, and the options of server and proxy."""
    path = folder / "key.pem"
    key = load_key(path)
    end = int(time.time()) + _HOUR
    rooms = {"read": ["*"], "write": ["*"]}
    credential = folder / "proxy.token"
    credential.write_text(mint(key, path.name, {"sub": "edge", "exp": end, "role": "proxy"}))
    token = mint(key, path.name, {"sub": "ada", "exp": end, "rooms": rooms})
    server = ["--token-keys", str(folder / "key.pem.jwks")]
    return token, server, ["--upstream-token-file", str(credential)]


def _certificates(folder: Path) -> tuple[str, list[str], list[str]]:
    """Makes certificates; returns the authority's, and the options of server and proxy."""
    authority = trustme.CA()
    root, chain, key = (str(folder / name) for name in ("root.pem", "chain.pem", "chain.key"))
    authority.cert_pem.write_to_path(root)
    issued = authority.issue_cert(HOST)
    issued.private_key_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(chain)
    shown = ["--tls-certificate", chain, "--tls-key", key]
    return root, shown, [*shown, "--upstream-ca", root]


async def measure(variant: Variant, workload: Workload) -> Result:
    """Starts a variant, and drives it once it is warm."""
    with tempfile.TemporaryDirectory(dir=targets.data_folder()) as folder:
        async with targets.running(variant.target, Path(folder)) as running:
            await meter.quiet(running.pids)
            job = make_job("drive", workload, running, _WARM_UP_SECONDS, _SECONDS)
            job = replace(job, token=variant.token, authority=variant.authority)
            return await drive(job, variant.target)


def main(options: Options) -> Section:
    """Measures in turns and sums up: medians of the rounds, and of their ratios."""
    table = Table(
        "What safety costs",
        ["workload", "with", "deliveries/s", "x neither", "p50, ms", "load, % of a core"],
        words=2,
    )
    rows = []
    with variants() as compared:
        for workload in _WORKLOADS:
            found = _rounds(compared, workload, _ROUNDS[options.effort])
            for variant, results in zip(compared, found, strict=True):
                rates = [result.rate for result in results]
                bases = [result.rate for result in found[0]]
                ratio = median(a / b for a, b in zip(rates, bases, strict=True))
                p50 = median(result.latencies[0] for result in results) * 1e3
                share = median(result.load_share for result in results)
                figures = (f"{median(rates):,.0f}", f"{ratio:.2f}", f"{p50:.2f}", f"{share:.0%}")
                table.add(workload.name, variant.label, *figures)
                rows.append({
                    "workload": workload.name, "with": variant.label,
                    "deliveries_per_second": round(median(rates)), "ratio": round(ratio, 3),
                    "latency_p50_ms": round(p50, 3), "load_share_of_a_core": round(share, 3),
                })  # fmt: skip
    return Section(table, {"rows": rows}, [])


def _rounds(compared: Sequence[Variant], workload: Workload, number: int) -> list[list[Result]]:
    found: list[list[Result]] = [[] for _ in compared]
    for each in range(number):
        order = range(len(compared)) if each % 2 == 0 else reversed(range(len(compared)))
        for index in order:
            progress(f"{workload.name}, round {each + 1}: {compared[index].label}")
            found[index].append(asyncio.run(measure(compared[index], workload)))
    return found
