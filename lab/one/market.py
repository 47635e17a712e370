# SPDX-License-Identifier: Apache-2.0
"""A marketplace of OpenNebula's http driver: images are exported to it by their datastore's driver.

Source of the facts: ``src/market_mad/one_market.rb`` and ``src/market/MarketPlaceManagerProtocol.cc``.
"""

from __future__ import annotations

import base64
import re
import threading
import xml.etree.ElementTree as ElementTree
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.one import cloning, messages
from lab.one.calls import Executor
from lab.one.datastore_drivers import DatastoreDrivers, info
from lab.one.errors import OneError
from lab.one.install import Installation
from lab.one.inventory import Inventory
from lab.one.model import AppState, Image, MarketApp
from lab.one.version import OneVersion
from lab.one.xml import cdata, element, field, indented
from linstor_helper import oned_conf

_ATTRIBUTE = re.compile(r'(\w+)="(.*)"')
_IMPORT_INFO = ("IMPORT_SOURCE", "MD5", "SIZE", "FORMAT", "DISPOSE", "DISPOSE_CMD")
_FAILURE = "Error importing app into marketplace"


class Market:
    """Keeps the bytes of its apps in a directory, which it serves over http."""

    def __init__(
        self,
        inventory: Inventory,
        version: OneVersion,
        executor: Executor,
        drivers: DatastoreDrivers,
        tree: Installation,
    ) -> None:
        self._inventory = inventory
        self._version = version
        self._executor = executor
        self._drivers = drivers
        self._import = tree.remotes / "market" / "http" / "import"
        self._public = tree.location / "market"
        self._server: ThreadingHTTPServer | None = None
        self.apps: list[MarketApp] = []

    def create(self, image_id: int, name: str = "") -> MarketApp:
        """`onemarketapp create`: the image's datastore exports, the marketplace imports.

        The app comes back READY, or in ERROR with the text that the user sees; it is LOCKED for good when the
        driver's answer is no IMPORT_INFO, which ends the thread that reads it. Its bytes are not compared with the
        MD5 that the driver told: whoever downloads the app does that.
        """
        image = self._inventory.images[image_id]
        if "export" not in oned_conf.ds_mad_conf(self._version)["MARKETPLACE_ACTIONS"].split(","):
            raise OneError("the image's datastore does not support to export to marketplaces")
        app = MarketApp(len(self.apps), name or image.name, image.id)
        self.apps.append(app)
        document = indented(self._drivers.document(image))
        try:
            cloning.begin(image)
        except OneError as exc:
            return _failed(app, str(exc))
        store = self._inventory.datastores[image.datastore_id]
        exported = self._drivers.call(store, "export", app.id, document)
        if not exported.ok:
            cloning.end(image)
            return _failed(app, f"{_FAILURE}: Error exporting image to file: {info(exported)}")
        answer = _import_info(exported.stdout)
        if answer is None:
            return app
        self._imported(app, image, self._action(app, document, answer))
        cloning.end(image)
        return app

    def path(self, app: MarketApp) -> Path:
        """Where the bytes of a READY app are."""
        return self._public / app.source.rpartition("/")[2]

    def stop(self) -> None:
        """Serve no longer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _imported(self, app: MarketApp, image: Image, document: str) -> None:
        encoded = base64.b64encode(document.encode()).decode()
        call = self._executor.run(self._import, [encoded, str(app.id)])
        if not call.ok:
            _failed(app, f"{_FAILURE}: {info(call)}")
            return
        values = {}
        for line in call.stdout.strip().splitlines():
            found = _ATTRIBUTE.fullmatch(line)
            if found is None:
                _failed(app, f"{_FAILURE}. Parse error: syntax error, unexpected {line!r}")
                return
            values[found.group(1)] = found.group(2)
        if (
            not all(values.get(key) for key in ("SOURCE", "MD5", "FORMAT"))
            or not values.get("SIZE", "").isdigit()
        ):
            _failed(app, f"{_FAILURE}. Missing app attributes.")
            return
        app.source, app.md5, app.format = values["SOURCE"], values["MD5"], values["FORMAT"]
        app.size_mb = int(values["SIZE"])
        app.state = AppState.READY

    def _action(self, app: MarketApp, exported: str, answer: dict[str, str]) -> str:
        place = (cdata("BASE_URL", self._url()), cdata("PUBLIC_DIR", str(self._public)))
        return element(
            "MARKET_DRIVER_ACTION_DATA",
            element(
                "MARKETPLACEAPP", field("ID", app.id), field("ORIGIN_ID", app.origin_id), field("TYPE", 1)
            ),
            element("MARKETPLACE", cdata("MARKET_MAD", "http"), element("TEMPLATE", *place)),
            exported.replace("<DS_DRIVER_ACTION_DATA>", "").replace("</DS_DRIVER_ACTION_DATA>", ""),
            *(field(key, answer[key]) for key in _IMPORT_INFO),
        )

    def _url(self) -> str:
        if self._server is None:
            self._public.mkdir(exist_ok=True)
            handler = partial(_Quiet, directory=str(self._public))
            self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def _import_info(answer: str) -> dict[str, str] | None:
    try:
        xml = ElementTree.fromstring(answer.strip())
    except ElementTree.ParseError:
        return None
    if xml.tag != "IMPORT_INFO":
        return None
    return {key: xml.findtext(key, "") for key in _IMPORT_INFO}


def _failed(app: MarketApp, message: str) -> MarketApp:
    app.error = messages.image_error_attribute(message)
    app.state = AppState.ERROR
    return app
