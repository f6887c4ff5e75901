"""The proxy: WebSocket and JSON in front of the chat server, and the web client.

Begin with `app`, which wires, then `core.switchboard`. For a test with aiohttp's test client::

    app = proxy.create_app(proxy.Config(upstream=server.address))

or, on a port of its own::

    async with proxy.serve(proxy.Config(host="127.0.0.1", port=0, ...)) as running:
        print(running.url)
"""

from hosting.rate_limits import Rates
from proxy.access.admission import AdmissionRules
from proxy.app import RunningProxy, create_app, serve
from proxy.config import Config

__all__ = ["AdmissionRules", "Config", "Rates", "RunningProxy", "create_app", "serve"]
