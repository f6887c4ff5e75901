"""The fuzz targets: functions of bytes that raise if an invariant is violated."""

from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import codec_targets, proxy_targets, server_targets, session_target

CORPUS = Path(__file__).parent / "corpus"


class Target(NamedTuple):
    """One target.

    Attributes:
        run: raises on a failure.
        seeds: returns the initial inputs.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


TARGETS = {
    "decode": Target(codec_targets.decode, lambda: codec_targets.seeds()[0]),
    "json": Target(codec_targets.json, lambda: codec_targets.seeds()[1]),
    "frame": Target(proxy_targets.frame, proxy_targets.frame_seeds),
    "session": Target(session_target.session, session_target.seeds),
    "batches": Target(proxy_targets.batches, proxy_targets.batch_seeds),
    "talk": Target(server_targets.talk, lambda: server_targets.seeds()[0]),
    "relay": Target(server_targets.relay, lambda: server_targets.seeds()[1]),
}


def corpus(name: str) -> list[bytes]:
    """The stored inputs of a target, one per line of its file, in base64."""
    lines = (CORPUS / f"{name}.txt").read_text(encoding="ascii").splitlines()
    return [b64decode(line) for line in lines]
