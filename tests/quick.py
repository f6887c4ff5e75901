"""The quick selection, `nox -s tests -- -m quick`: all parts of a message's way."""

from functools import cache
from pathlib import Path
from typing import Final

FOLDERS: Final = ("chat", "codec", "contract", "hosting/grpc", "proxy")
"""Of these the whole folder, and of the others nothing: browsers, processes, what is broken."""

SLOW: Final = frozenset(
    {
        "chat/storage",  # contract/ tests every engine's promises
        "chat/api/test_node_client.py",
        "chat/api/test_batches.py",
        "chat/api/test_seam.py",
        "chat/api/test_slow_streams.py",
        "chat/api/test_unknown_fields.py",
        "codec/test_generate.py",
        "codec/test_hostile_bytes.py",
        "contract/test_store_model.py",
        "hosting/grpc/test_attacks.py",
        "proxy/test_cost.py",
        "proxy/test_many_clients.py",
        "proxy/clients/test_slow_consumer.py",
    }
)
"""But for these, which take most of the time."""

_TESTS: Final = Path(__file__).parent


@cache
def is_quick(path: Path) -> bool:
    """Whether the tests of a file belong to the quick selection."""
    if not path.is_relative_to(_TESTS):
        return False
    name = path.relative_to(_TESTS)
    own = {name.as_posix(), *(folder.as_posix() for folder in name.parents)}
    return not own.isdisjoint(FOLDERS) and own.isdisjoint(SLOW)
