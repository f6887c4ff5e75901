"""The alerts, by Prometheus' own tool: their validity, and when they fire."""

import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.deploy.nginx import DEPLOY, tool

FOLDER: Final = DEPLOY / "prometheus"

# An alert, the values of series from minute to minute, and the labels it fires with: none
# if it does not.
CASES: Final[dict[str, tuple[str, dict[str, str], dict[str, str] | None]]] = {
    "the first defect": (
        "ChatDefect",
        {'chat_calls_total{method="M",status="INTERNAL"}': "0x5 1x5"},
        {"method": "M", "status": "INTERNAL"},
    ),
    "no defect": (
        "ChatDefect",
        {
            'chat_calls_total{method="M",status="INTERNAL"}': "0x10",
            'chat_calls_total{method="M",status="OK"}': "0+10x10",
        },
        None,
    ),
    "a commit that waits for its standby": (
        "ChatCommitsWait",
        {"chat_commit_wait_seconds": "0x5 30+60x5"},
        {},
    ),
    "commits that take a while": (
        "ChatCommitsWait",
        {"chat_commit_wait_seconds": "0 4 0 4 0 4 0 4 0 4 0"},
        None,
    ),
    "commits that are no longer synchronous": (
        "ChatNotSynchronous",
        {"chat_synchronous": "1x5 0x5", "chat_lease_seconds": "9x10"},
        {},
    ),
    "commits of a server that never saw a standby": (
        "ChatNotSynchronous",
        {"chat_synchronous": "0x10", "chat_lease_seconds": "9x10"},
        {},
    ),
    "synchronous commits": (
        "ChatNotSynchronous",
        {"chat_synchronous": "1x10", "chat_lease_seconds": "9x10"},
        None,
    ),
    "no standby of SQLite": (
        "ChatNotSynchronous",
        {"chat_synchronous": "0x10", "chat_lease_seconds": "0x10"},
        None,
    ),
    "another history": ("ChatHistoryChanged", {"chat_epoch_changes_total": "0x5 1x5"}, {}),
    "a lost lease": ("ChatNodeWithoutLease", {"chat_lease_seconds": "9x5 0x5"}, {}),
    "no lease on SQLite": ("ChatNodeWithoutLease", {"chat_lease_seconds": "0x10"}, None),
    "connections that are lost again and again": (
        "ChatStoreReconnects",
        {"chat_store_reconnects_total": "0+1x20"},
        {},
    ),
    "a bus that is silent": ("ChatHintsSilent", {"chat_hint_age_seconds": "0+60x20"}, {}),
    "a bus that is probed": ("ChatHintsSilent", {"chat_hint_age_seconds": "0 6x20"}, None),
    "messages that no hint told of": (
        "ChatHintsLost",
        {"chat_sweep_found_total": "0+10x25"},
        {},
    ),
    "hints lost with a connection": (
        "ChatHintsLost",
        {"chat_sweep_found_total": "0x5 40x20"},
        None,
    ),
    "few files": (
        "FewFilesLeft",
        {
            'process_open_fds{job="chat-proxy"}': "850x10",
            'process_max_fds{job="chat-proxy"}': "1000x10",
        },
        {"job": "chat-proxy"},
    ),
    "nearly full": (
        "ProxyNearlyFull",
        {"proxy_connections": "8500x10", "proxy_connections_limit": "10000x10"},
        {},
    ),
    "without a limit": (
        "ProxyNearlyFull",
        {"proxy_connections": "8500x10", "proxy_connections_limit": "Inf " * 11},
        None,
    ),
    "full": (
        "ProxyFull",
        {'proxy_handshakes_refused_total{reason="full"}': "0x5 1x5"},
        {"reason": "full"},
    ),
    "refused for other reasons": (
        "ProxyFull",
        {'proxy_handshakes_refused_total{reason="rate"}': "0+1000x10"},
        None,
    ),
    "all clients are one": (
        "ProxyRefusesAddresses",
        {'proxy_handshakes_refused_total{reason="address"}': "0+60x20"},
        {"reason": "address"},
    ),
}


def run(*arguments: str) -> None:
    """Runs promtool, which must succeed."""
    command = [tool("promtool"), *arguments]
    done = subprocess.run(  # noqa: S603 - ours
        command, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_are_valid() -> None:
    run("check", "rules", "--lint-fatal", str(FOLDER / "alerts.yaml"))


@pytest.mark.parametrize("name", ["prometheus.yaml", "compose.yaml"])
def test_configurations_are_valid(name: str) -> None:
    run("check", "config", "--lint-fatal", str(FOLDER / name))


@pytest.mark.parametrize("case", CASES)
def test_alerts_fire_as_specified(tmp_path: Path, case: str) -> None:
    alert, series, labels = CASES[case]
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
    [rule] = [
        rule for group in rules["groups"] for rule in group["rules"] if rule["alert"] == alert
    ]
    # The text of an alert is not tested.
    rule.pop("annotations")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    expected: list[dict[str, Any]] = []
    if labels is not None:
        expected.append({"exp_labels": {**rule["labels"], **labels}})
    moment = "20m" if rule.get("for") == "10m" else "10m"
    test = {
        "rule_files": ["rules.yaml"],
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": values} for name, values in series.items()
                ],
                "alert_rule_test": [
                    {"eval_time": moment, "alertname": alert, "exp_alerts": expected}
                ],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    run("test", "rules", str(tmp_path / "test.yaml"))
