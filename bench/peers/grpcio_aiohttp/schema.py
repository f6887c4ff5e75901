"""The messages and stubs of the project's schema, made by grpcio-tools as it is imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # it has no types

_PROTO = Path(__file__).parents[3] / "proto"


def _load() -> tuple[Any, Any]:
    sys.path.insert(0, str(_PROTO))
    try:
        return grpc.protos_and_services("chat.proto")  # type: ignore[no-any-return]  # no types
    finally:
        sys.path.remove(str(_PROTO))


messages, services = _load()
