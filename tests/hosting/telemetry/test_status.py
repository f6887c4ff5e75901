"""Charts of the status page over time."""

from collections.abc import Iterator, Mapping

import orjson
from prometheus_client.core import Metric

from hosting.telemetry.histogram import SECONDS, SIZES, Histogram
from hosting.telemetry.status import Chart, Series, Source, Status, mean_and_most, quantiles, rate


class Shop(Source):
    """A source of figures set by the test."""

    title = "Shop"

    def __init__(self) -> None:
        self.guests = 0
        self.sold = 0
        self.waits = Histogram(SECONDS)
        self.baskets = Histogram(SIZES)
        self.rooms: dict[str, int] = {}
        self.charts = (
            Chart("Guests", "", [Series("guests", lambda: self.guests)]),
            Chart("Sold", "/s", [Series("sold", rate(lambda: self.sold))]),
            Chart("Waits", "s", quantiles(self.waits)),
            Chart("Baskets", "", mean_and_most(self.baskets)),
        )

    def take_rooms(self) -> Mapping[str, int]:
        taken, self.rooms = self.rooms, {}
        return taken

    def collect(self) -> Iterator[Metric]:
        yield from ()


def last(status: Status, title: str) -> list[float | None]:
    """The newest value of each series of a chart."""
    [chart] = [chart for chart in status.report()["charts"] if chart["title"] == title]
    return [line["values"][-1] for line in chart["lines"]]


def test_gauge_is_drawn_unchanged() -> None:
    shop = Shop()
    status = Status(shop)
    for guests in (3, 5, 4):
        shop.guests = guests
        status.tick()
    [chart, *_] = status.report()["charts"]
    assert chart["lines"] == [{"name": "guests", "values": [3, 5, 4]}]


def test_rate_is_the_counter_increase() -> None:
    shop = Shop()
    status = Status(shop)
    shop.sold = 10
    status.tick()
    [first] = last(status, "Sold")
    assert first is not None
    assert first > 0
    status.tick()
    assert last(status, "Sold") == [0]


def test_quantiles_and_means_cover_the_period() -> None:
    shop = Shop()
    status = Status(shop)
    shop.waits.observe(20.0, 100)
    shop.baskets.observe(64, 100)
    status.tick()
    shop.waits.observe(0.001, 100)
    shop.baskets.observe(3, 10)
    shop.baskets.observe(5, 10)
    status.tick()
    p50, p99 = last(status, "Waits")
    assert p50 is not None
    assert p99 is not None
    assert p50 <= p99 <= 0.001
    mean, _ = last(status, "Baskets")
    assert mean == 4
    status.tick()
    assert last(status, "Waits") == last(status, "Baskets") == [None, None]


def test_history_keeps_two_minutes() -> None:
    shop = Shop()
    status = Status(shop)
    for shop.guests in range(200):
        status.tick()
    [chart, *_] = status.report()["charts"]
    assert chart["lines"][0]["values"] == list(range(80, 200))
    assert status.report()["kept_periods"] == 120


def test_busiest_rooms_come_first() -> None:
    shop = Shop()
    status = Status(shop)
    shop.rooms = {"past": 1000}
    status.tick()
    for _ in range(10):
        shop.rooms = {f"room {number}": number for number in range(1, 31)}
        status.tick()
    rooms = status.report()["rooms"]
    assert rooms == [{"room_id": f"room {n}", "rate": float(n)} for n in range(30, 20, -1)]


def test_report_is_ready_for_json() -> None:
    status = Status(Shop())
    status.tick()
    assert orjson.loads(orjson.dumps(status.report()))["title"] == "Shop"
