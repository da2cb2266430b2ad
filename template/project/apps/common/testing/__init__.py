"""The test kit: `connect` for tests of the server; fixtures.py and chromium.py for tests in a browser;
websocket_server.js for tests of a service in Node."""

from apps.common.testing.client import Client, connect, sign_in

__all__ = ["Client", "connect", "sign_in"]
