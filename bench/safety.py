"""What safety and metrics cost: the project with each of them, beside itself without."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
import timeit
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp
import trustme

from bench import meter, targets, workloads
from bench.load.job import Result
from bench.options import Effort, Options
from bench.report import Section, Table, progress
from bench.rounds import drive, make_job
from bench.targets import HOST, PROJECT, Target
from bench.workloads import Workload
from chat.metrics import ServerMetrics, StoreMetrics
from chat.token import load_key, mint
from proxy.metrics import ProxyMetrics

_ROUNDS: Final = {Effort.QUICK: 1, Effort.NORMAL: 3, Effort.FULL: 7}
_WORKLOADS: Final = (workloads.ECHO_16, workloads.FAN_OUT)
# As often as Prometheus may well ask.
_SCRAPE_SECONDS: Final = 1.0
_WARM_UP_SECONDS: Final = 3.0
_SECONDS: Final = 4.0
_HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class Variant:
    """The project with something that costs.

    Attributes:
        label: what it is called in the table.
        target: how it is started.
        scraped: the addresses of metrics that are asked for while it is driven.
        token: what its clients present.
        authority: the file with the certificate that its own is signed by.
    """

    label: str
    target: Target
    token: str = ""
    authority: str = ""
    scraped: tuple[str, ...] = ()


@contextmanager
def variants() -> Iterator[list[Variant]]:
    """Makes the keys, tokens and certificates that are compared."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        token, server, proxy = tokens(folder)
        authority, tls_server, tls_proxy = _certificates(folder)
        ports = free_ports(2)
        off = ["--metrics-port", "off"]
        yield [
            Variant("nothing", _with("bare", off, off)),
            Variant(
                "metrics, asked for each second",
                _with("metrics", *(["--metrics-port", str(port)] for port in ports)),
                scraped=tuple(f"http://{HOST}:{port}/metrics" for port in ports),
            ),
            Variant("tokens", _with("tokens", [*server, *off], [*proxy, *off]), token),
            Variant(
                "tokens and TLS on both links",
                _with("tls", [*server, *tls_server, *off], [*proxy, *tls_proxy, *off]),
                token,
                authority,
            ),
        ]


def free_ports(number: int) -> list[int]:
    """Finds TCP ports that nobody listens on."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(number)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _with(name: str, server: Sequence[str], proxy: Sequence[str]) -> Target:
    """The project with further options."""

    def start_server(folder: Path) -> list[str]:
        if PROJECT.server is None:
            raise AssertionError("the project has a server")
        return [*PROJECT.server(folder), *server]

    return Target(name, name, start_server, lambda upstream: [*PROJECT.proxy(upstream), *proxy])


def tokens(folder: Path) -> tuple[str, list[str], list[str]]:
    """Makes a key; returns a token of ada's, and the options of server and proxy."""
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
            async with _scraping(variant.scraped):
                return await drive(job, variant.target)


@asynccontextmanager
async def _scraping(addresses: Sequence[str]) -> AsyncIterator[None]:
    """Asks for metrics while the context is open."""
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        tasks = [asyncio.create_task(_scrape(session, address)) for address in addresses]
        yield
        for task in tasks:
            # One that has failed says so here.
            if not task.cancel():
                task.result()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _scrape(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        async with session.get(address) as response:
            await response.read()
        await asyncio.sleep(_SCRAPE_SECONDS)


def main(options: Options) -> Section:
    """Measures in turns and sums up: medians of the rounds, and of their ratios."""
    table = Table(
        "What safety and metrics cost",
        ["workload", "with", "deliveries/s", "x nothing", "CPU x nothing", "p50, ms", "load, %"],
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
                cpu = median(
                    b.efficiency / a.efficiency for a, b in zip(results, found[0], strict=True)
                )
                p50 = median(result.latencies[0] for result in results) * 1e3
                share = median(result.load_share for result in results)
                figures = f"{median(rates):,.0f}", f"{ratio:.2f}", f"{cpu:.2f}"
                table.add(workload.name, variant.label, *figures, f"{p50:.2f}", f"{share:.0%}")
                rows.append({
                    "workload": workload.name, "with": variant.label,
                    "deliveries_per_second": round(median(rates)), "ratio": round(ratio, 3),
                    "cpu_ratio": round(cpu, 3), "latency_p50_ms": round(p50, 3),
                    "load_share_of_a_core": round(share, 3),
                })  # fmt: skip
    counting = {size: counting_microseconds(size) for size in (1, 64)}
    note = "To count takes both processes together {:.2f} us for a lone message, {:.3f} of 64."
    data = {"rows": rows, "counting_microseconds": counting}
    return Section(table, data, [note.format(*counting.values())])


def counting_microseconds(size: int) -> float:
    """Measures what is counted for each message of a batch on its way, in both processes."""
    server, store, proxy = ServerMetrics(), StoreMetrics(), ProxyMetrics()
    came = [time.monotonic()] * size

    def count() -> None:
        for _ in came:
            proxy.received += 1
        proxy.sent_batches.observe(size)
        server.batches.observe(size)
        server.received += size
        store.committed(0.001, size)
        server.stored += size
        server.deliveries += size
        server.delivery_seconds.observe(0.001, size)
        proxy.received_batches.observe(1)
        proxy.delivered(size, size, came)

    return min(timeit.repeat(count, number=1000, repeat=7)) / 1000 / size * 1e6


def _rounds(compared: Sequence[Variant], workload: Workload, number: int) -> list[list[Result]]:
    found: list[list[Result]] = [[] for _ in compared]
    for each in range(number):
        order = range(len(compared)) if each % 2 == 0 else reversed(range(len(compared)))
        for index in order:
            progress(f"{workload.name}, round {each + 1}: {compared[index].label}")
            found[index].append(asyncio.run(measure(compared[index], workload)))
    return found
