"""The command ``python -m chat``."""

from chat.access.keys import UnusableKeys
from chat.api.handlers import NotHandled
from chat.config import Config
from chat.server import serve
from chat.storage.base import StoreUnusable
from hosting.command import ServiceFailed, ready, run_command
from hosting.service import Service
from hosting.signals import first_of, stop_event


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        async with serve(config) as server:
            ready(f"chat server ready: gRPC on {server.address}")
            await first_of(stop, server.failed)
        if server.failed.is_set():
            raise ServiceFailed(f"stopped: {server.failure}")


command = Service(
    "chat",
    "chat-server",
    "Run the chat server: rooms, history and users over gRPC.",
    (StoreUnusable, NotHandled, UnusableKeys),
).command(Config, _serve)


def main() -> None:
    """The console script ``chat-server``."""
    run_command(command, "chat-server")


if __name__ == "__main__":
    run_command(command, "python -m chat")
