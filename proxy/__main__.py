"""The command ``python -m proxy``."""

from hosting.command import ready, run_command
from hosting.service import Service
from hosting.signals import stop_event
from proxy.app import serve
from proxy.config import Config


async def _serve(config: Config) -> None:
    with stop_event() as stop:
        async with serve(config) as proxy:
            ready(f"chat proxy ready: page and WebSocket on {proxy.url}")
            await stop.wait()


command = Service(
    "proxy", "chat-proxy", "Run the proxy: WebSocket and JSON in front of the chat server."
).command(Config, _serve)


def main() -> None:
    """The console script ``chat-proxy``."""
    run_command(command, "chat-proxy")


if __name__ == "__main__":
    run_command(command, "python -m proxy")
