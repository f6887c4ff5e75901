"""Metrics in documentation, dashboard and alerts are those of running processes."""

import asyncio
import json
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import pytest
import yaml

from gen.chat import ChatServiceBase, RelayServiceBase
from tests.docs.markdown import ROOT, code, section
from tests.kit.processes import ready_line, running
from tests.proxy.web_client import Client, message
from tests.scraping import Scrape, scrape, scrape_until

METHODS: Final = (*ChatServiceBase().__mapping__(), *RelayServiceBase().__mapping__())

PAGE: Final = ROOT / "docs/metrics.md"
DASHBOARD: Final = ROOT / "deploy/grafana/dashboard.json"
ALERTS: Final = ROOT / "deploy/prometheus/alerts.yaml"
PROMETHEUS: Final = ROOT / "deploy/prometheus/prometheus.yaml"

_OURS: Final = re.compile(r"\b((?:chat|proxy|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
_RISE: Final = re.compile(r"\b(?:rate|increase)\((\w+)")
_BY: Final = re.compile(r"\bby \(([^)]*)\)")
# Added by Prometheus itself.
_ADDED: Final = {"instance", "job", "le"}
# Prometheus' own metric of a process that answers.
_UP: Final = re.compile(r'up\{job="([^"]+)"\} == 0')


class Told(NamedTuple):
    """The metrics of the two processes before and after some traffic."""

    chat: Scrape
    proxy: Scrape
    before: tuple[Scrape, Scrape]

    @property
    def types(self) -> dict[str, str]:
        """The type of each metric."""
        families = {**self.chat.families, **self.proxy.families}
        return {name: family.type for name, family in families.items()}

    @property
    def labels(self) -> dict[str, set[str]]:
        """The possible labels of each name in an expression."""
        return {
            sample.name: set(sample.labels)
            for told in (self.chat, self.proxy)
            for family in told.families.values()
            for sample in family.samples
        }


async def status_url(process: Any) -> str:
    """The address of a process' metrics, out of its log."""
    while line := (await process.stderr.readline()).decode():
        if found := re.search(r'"metrics and status page" url=(\S+)', line):
            return found[1]
    raise AssertionError("it serves none")


async def talk(url: str) -> None:
    """A client that gives every labelled metric a value."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        client = Client(socket)
        await client.ask(chat_message=message("lobby"))
        await client.ask(get_user={"user_id": "ada"})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The metrics of both commands after some traffic."""
    return asyncio.run(ask_both(tmp_path_factory.mktemp("metrics")))


async def ask_both(folder: Path) -> Told:
    """Runs both processes and a client; returns their metrics."""
    address = ("--host", "127.0.0.1", "--port", "0", "--metrics-port", "0")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            running("chat", *address, "--database", str(folder / "chat.db"))
        )
        upstream = (await ready_line(server)).split()[-1]
        proxy = await stack.enter_async_context(running("proxy", *address, "--upstream", upstream))
        url = (await ready_line(proxy)).split()[-1]
        chat_status, proxy_status = await status_url(server), await status_url(proxy)
        before = await scrape(chat_status), await scrape(proxy_status)
        await talk(url)
        proxy_told = await scrape_until(proxy_status, lambda told: told("proxy_connections") == 0)
        return Told(await scrape(chat_status), proxy_told, before)


def described() -> dict[str, tuple[str, str]]:
    """The type and description of each metric in the tables of the page."""
    titles = ("Metrics of the chat server", "Metrics of the proxy", "Metrics of both")
    return {
        code(name)[0]: (kind, meaning)
        for title in titles
        for name, kind, meaning in section(PAGE, title).rows()
    }


def test_metrics_are_described_with_labels(told: Told) -> None:
    """Process metrics are Prometheus' own; labels are named within texts."""
    assert {name: kind for name, (kind, _) in described().items()} == told.types
    for name, (_, meaning) in described().items():
        for label in told.labels.get(name, set()) - {"le"}:
            assert f"`{label}`" in meaning, (name, label)


def test_metric_names_follow_conventions(told: Told) -> None:
    """https://prometheus.io/docs/practices/naming/."""
    for name, kind in told.types.items():
        assert name.endswith("_total") == (kind == "counter"), name
        assert not re.search(r"_(ms|millis\w*|minutes|kb|mb|percent)(_|$)", name), name
        if kind == "histogram":
            assert name.rpartition("_")[2] in ("seconds", "messages", "commands", "events"), name


def test_labels_hold_no_user_or_room(told: Told) -> None:
    for scraped in (told.chat, told.proxy):
        for family in scraped.families.values():
            for sample in family.samples:
                assert not {"ada", "lobby"} & set(sample.labels.values()), sample


def expressions() -> list[Any]:
    """The expressions of the dashboard and of the alerts."""
    drawn = [
        pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", [])
    ]
    return drawn + [pytest.param(rule["expr"], id=rule["alert"]) for rule in rules()]


def rules() -> list[dict[str, Any]]:
    """The alerts."""
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


@pytest.mark.parametrize("expression", expressions())
def test_expressions_use_existing_metrics(told: Told, expression: str) -> None:
    if _UP.fullmatch(expression):
        return
    found = _OURS.findall(expression)
    assert found
    rising = set(_RISE.findall(expression))
    by = {label.strip() for labels in _BY.findall(expression) for label in labels.split(",")}
    for name, matchers in found:
        assert name in told.labels, name
        labels = told.labels[name] | _ADDED
        assert set(re.findall(r"(\w+)=", matchers)) | by <= labels, (name, labels)
        # Of a counter only the increase is of interest.
        only_rises = name.endswith(("_total", "_bucket", "_sum", "_count"))
        assert only_rises == (name in rising), name


@pytest.mark.parametrize("expression", expressions())
def test_quantiles_use_buckets(expression: str) -> None:
    for name in re.findall(
        r"histogram_quantile\([\d.]+, sum by \([^)]*\) \(rate\((\w+)", expression
    ):
        assert name.endswith("_bucket")
    assert ("_bucket" in expression) == ("histogram_quantile(" in expression)


def test_alerted_counters_exist_from_start(told: Told) -> None:
    """Prometheus sees no increase in a series that begins with 1: it would miss the first event."""
    risen = [
        found
        for rule in rules()
        for found in re.findall(r"\bincrease\((\w+)(?:\{([^}]*)\})?\[", rule["expr"])
    ]
    assert len(risen) > 5
    for name, matchers in risen:
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', matchers)).items()
        labels = [
            sample.labels
            for scraped in told.before
            for family in scraped.families.values()
            for sample in family.samples
            if sample.name == name and sample.labels.items() >= wanted
        ]
        assert labels, name
        if name == "chat_calls_total":
            assert {each["method"] for each in labels} == set(METHODS)


def test_own_metrics_are_drawn(told: Told) -> None:
    drawn = {name for param in expressions() for name, _ in _OURS.findall(param.values[0])}
    for name, kind in told.types.items():
        if name.startswith(("chat_", "proxy_")):
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            is_drawn = any(f"{name}{suffix}" in drawn for suffix in suffixes)
            assert is_drawn, f"add a panel with {name} to {DASHBOARD.relative_to(ROOT)}"


def test_panels_are_named_and_apart() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert panel["title"]
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_instance_list_uses_permanent_metrics(told: Told) -> None:
    """Process metrics are missing where /proc is hidden."""
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    [query] = [each["query"]["query"] for each in variables if each["name"] == "instance"]
    found = re.fullmatch(r'label_values\(\{__name__=~"([^"]+)"\}, instance\)', query)
    assert found is not None
    names = set(found[1].split("|"))
    assert names <= told.types.keys()
    assert names & told.chat.families.keys()
    assert names & told.proxy.families.keys()
    assert not [name for name in names if name.startswith("process_")]


def test_alerts_have_severity_and_summary() -> None:
    assert len({rule["alert"] for rule in rules()}) == len(rules()) > 10
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]


def test_alerts_of_nodes_are_explained() -> None:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    [group] = [each for each in groups if each["name"] == "nodes"]
    rows = section(ROOT / "docs/operations.md", "Alerts of several nodes").rows()
    assert [code(row[0])[0] for row in rows] == [rule["alert"] for rule in group["rules"]]


def test_scrape_config_matches_ports_and_alerts() -> None:
    configuration = yaml.safe_load(PROMETHEUS.read_text())
    jobs = {
        job["job_name"]: job["static_configs"][0]["targets"]
        for job in configuration["scrape_configs"]
    }
    assert jobs == {"chat": ["127.0.0.1:9464"], "chat-proxy": ["127.0.0.1:9465"]}
    assert [PROMETHEUS.parent / name for name in configuration["rule_files"]] == [ALERTS]
    watched = {found[1] for param in expressions() if (found := _UP.fullmatch(param.values[0]))}
    assert watched == jobs.keys()
