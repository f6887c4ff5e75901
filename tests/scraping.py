"""Reading metrics as Prometheus does."""

import asyncio
from collections.abc import Callable

import aiohttp
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support import PATIENCE_SECONDS


class Scrape:
    """The metrics of a process at one moment.

    Attributes:
        families: metric families, by name.
    """

    def __init__(self, text: str) -> None:
        found: list[Metric] = list(text_string_to_metric_families(text))
        self.families = {_full_name(family): family for family in found}

    def __call__(self, name: str, **labels: str) -> float:
        """The value of one sample; 0 for a counter without these labels yet."""
        values = [
            sample.value
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        assert len(values) == 1 or (labels and not values), (name, labels, values)
        return values[0] if values else 0.0

    @property
    def samples(self) -> set[str]:
        """Names that an expression may use."""
        return {sample.name for family in self.families.values() for sample in family.samples}


def _full_name(family: Metric) -> str:
    # The parser takes the suffix off.
    return f"{family.name}_total" if family.type == "counter" else str(family.name)


async def scrape(status_url: str) -> Scrape:
    """Reads the metrics of a process once."""
    async with aiohttp.ClientSession() as session, session.get(f"{status_url}metrics") as response:
        assert response.status == 200
        return Scrape(await response.text())


async def scrape_until(status_url: str, found: Callable[[Scrape], bool]) -> Scrape:
    """Reads metrics until a condition holds: counting raises no other event."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not found(told := await scrape(status_url)):  # noqa: ASYNC110 - over HTTP
            await asyncio.sleep(0.01)
    return told
