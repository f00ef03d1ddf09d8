"""Chromium without a window, over its DevTools protocol, which needs a pipe and nothing else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
ANSWER_SECONDS = 60.0


class Browser:
    """One page; what it logs and asks the network for is kept."""

    def __init__(self, profile: Path) -> None:
        assert PROGRAM
        self.console: list[str] = []
        self.requests: list[str] = []
        self._seen: list[dict[str, Any]] = []
        self._number, self._rest = 0, b""
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        words = (
            *(PROGRAM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", f"--user-data-dir={profile}"),
            *("--remote-debugging-pipe", "about:blank"),
        )
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "chromium", *words],
            pass_fds=(commands, answers),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """One command; its result. What comes meanwhile is kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._hear()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                found: dict[str, Any] = answer["result"]
                return found

    def open(self, path: Path) -> None:
        """The page of a file, until it has loaded."""
        self.console.clear()
        self.requests.clear()
        self._seen.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(one.get("method") == "Page.loadEventFired" for one in self._seen):
            self._hear()

    def evaluate(self, script: str) -> Any:
        """The value of an expression, or of what its promise comes to."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def show(self, width: int, scheme: str = "light", media: str = "screen") -> None:
        """On a screen so wide, or on paper."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)

    def screenshot(self, path: Path) -> None:
        """All of the page, for a person to look at."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def press(self, key: str) -> None:
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            values = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
            self.call("Input.dispatchKeyEvent", **values, **(text if kind == "keyDown" else {}))

    def _hear(self) -> dict[str, Any]:
        """The next message; what the page logs and asks for is kept."""
        until = monotonic() + ANSWER_SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select([self._answers], [], [], max(0.0, until - monotonic()))
            block = os.read(self._answers, 1 << 20) if ready else b""
            assert block, "the browser does not answer"
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        self._seen.append(found)
        values = found.get("params", {})
        if found.get("method") in {"Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
            self.console.append(json.dumps(values))
        if found.get("method") == "Log.entryAdded":
            self.console.append(values["entry"]["text"])
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        return found
