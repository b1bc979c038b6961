"""A headless Chromium, spoken to over its own DevTools protocol: a page, its console, its keys and its pictures."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import websocket

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)
PROGRAMS = ("chromium", "chromium-headless-shell", "google-chrome")
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


def chromium() -> str | None:
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Page:
    """One tab. `complaints` holds every console error, exception and blocked or attempted request."""

    def __init__(self, address: str) -> None:
        self._socket = websocket.create_connection(address, timeout=30)
        self._last = 0
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._last:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._listen(message)

    def _listen(self, message: dict[str, Any]) -> None:
        match message.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"]["text"])
            case "Runtime.consoleAPICalled" if message["params"]["type"] in ("error", "warning"):
                self.complaints.append(str(message["params"]["args"]))
            case "Log.entryAdded":
                self.complaints.append(message["params"]["entry"]["text"])
            case "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
                if not url.startswith(("file:", "data:")):
                    self.complaints.append(f"asked the network for {url}")

    def open(self, file: Path) -> None:
        self.command("Page.navigate", url=file.resolve().as_uri())
        for _ in range(200):
            if self.evaluate("document.readyState") == "complete":
                return
            time.sleep(0.05)
        raise AssertionError(f"{file} does not load")

    def evaluate(self, expression: str) -> Any:
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression[:200]}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def click(self, selector: str) -> None:
        """A real click, in the middle of what is shown."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def press(self, key: str) -> None:
        code = _KEYS[key]
        text = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        self.command("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.command("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def show_as(self, *, scheme: str = "light", medium: str = "") -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.command("Emulation.setEmulatedMedia", media=medium, features=features)

    def resize(self, width: int, height: int = 800) -> None:
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def picture(self, file: Path) -> None:
        """What the window shows."""
        file.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser with a profile of its own; both are gone afterwards."""
    program = chromium()
    assert program, "no Chromium is installed"
    with tempfile.TemporaryDirectory(prefix="report-browser-", ignore_cleanup_errors=True) as profile:
        command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Page(_page_address(Path(profile)))
        finally:
            process.terminate()
            process.wait(timeout=20)


def _page_address(profile: Path) -> str:
    port_file = profile / "DevToolsActivePort"
    for _ in range(300):
        if port_file.exists() and port_file.read_text().strip():
            port, path = port_file.read_text().split()
            control = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=30)
            control.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(control.recv())["result"]["targetInfos"]
            control.close()
            page = next(target for target in targets if target["type"] == "page")
            return f"ws://127.0.0.1:{port}/devtools/page/{page['targetId']}"
        time.sleep(0.1)
    raise AssertionError("Chromium does not start")
