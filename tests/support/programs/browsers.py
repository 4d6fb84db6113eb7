# SPDX-License-Identifier: (Apache-2.0 OR MIT)
"""Real browsers, driven as the WebDriver specification has it: Chromium by chromedriver, Firefox by Marionette, which
it has built in. Both of Debian (chromium, chromium-driver, firefox-esr); no library is needed.
"""

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List

import requests

#: how long a browser may take to start, or a page to do what it should; seconds
PATIENCE = 60
ENTER, ESCAPE, TAB, DOWN, RIGHT = "\ue007", "\ue00c", "\ue004", "\ue015", "\ue014"


class Browser:
    """One window. ``_call``: a command of WebDriver, by its name in Marionette."""

    name = ""

    def _call(self, command: str, **parameters: Any) -> Any:
        raise NotImplementedError

    def open(self, url: str) -> None:
        self._call("Navigate", url=url)

    def script(self, text: str, *arguments: Any) -> Any:
        """``text``: the body of a function."""
        return self._call("ExecuteScript", script=text, args=list(arguments))

    def wait(self, expression: str, *arguments: Any) -> Any:
        """The value of a JavaScript expression as soon as it is true."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.script(f"return {expression}", *arguments)
            if found:
                return found
            assert time.monotonic() < deadline, f"{expression} does not come true: {self.text()[:500]}"
            time.sleep(0.02)

    def text(self) -> str:
        return self.script("return document.body.innerText")

    def type(self, keys: str) -> None:
        """To whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def screenshot(self) -> bytes:
        """PNG."""
        return base64.b64decode(self._call("TakeScreenshot", full=False))

    def prefer_dark(self, dark: bool) -> None:
        raise NotImplementedError

    def errors(self) -> List[str]:
        """What the browser complained of since the last call, as far as it tells."""
        return []


class Chromium(Browser):
    name = "chromium"
    _PATHS = {
        "Navigate": "url",
        "ExecuteScript": "execute/sync",
        "PerformActions": "actions",
        "SetWindowRect": "window/rect",
        "Cdp": "goog/cdp/execute",
        "Log": "se/log",
    }

    def __init__(self, driver: str) -> None:
        self._driver = driver
        options = {
            "binary": shutil.which("chromium"),
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--force-device-scale-factor=1"],
        }
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._request("POST", f"{driver}/session", {"capabilities": {"alwaysMatch": always}})
        self._session = f"{driver}/session/{made['sessionId']}"

    def _request(self, method: str, url: str, document: Any = None) -> Any:
        response = requests.request(method, url, json=document, timeout=PATIENCE, proxies={"http": ""})
        value = response.json()["value"]
        assert response.ok, value
        return value

    def _call(self, command: str, **parameters: Any) -> Any:
        if command == "TakeScreenshot":
            return self._request("GET", f"{self._session}/screenshot")
        return self._request("POST", f"{self._session}/{self._PATHS[command]}", parameters)

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self._call("Cdp", cmd=command, params=parameters)

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def prefer_dark(self, dark: bool) -> None:
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[feature])

    def errors(self) -> List[str]:
        return [entry["message"] for entry in self._call("Log", type="browser") if entry["level"] == "SEVERE"]

    def close(self) -> None:
        self._request("DELETE", self._session)


class Firefox(Browser):
    """A command is ``LENGTH:[0, ID, NAME, PARAMETERS]``, an answer ``LENGTH:[1, ID, ERROR, RESULT]``."""

    name = "firefox"

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._pending = b""
        self._count = 0
        self._read()  # a greeting
        self._call("NewSession", capabilities={})

    def _call(self, command: str, **parameters: Any) -> Any:
        self._count += 1
        if command == "ExecuteScript":
            parameters["newSandbox"] = False
        prefix = "" if ":" in command else "WebDriver:"
        data = json.dumps([0, self._count, prefix + command, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(data), data))
        _, _, error, result = self._read()
        assert error is None, error
        return result["value"] if set(result or ()) == {"value"} else result

    def _read(self) -> Any:
        while b":" not in self._pending:
            self._receive()
        length, _, self._pending = self._pending.partition(b":")
        while len(self._pending) < int(length):
            self._receive()
        data, self._pending = self._pending[: int(length)], self._pending[int(length) :]
        return json.loads(data)

    def _receive(self) -> None:
        data = self._socket.recv(1 << 16)
        assert data, "Firefox has ended"
        self._pending += data

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        self._call("SetWindowRect", width=width, height=height)

    def prefer_dark(self, dark: bool) -> None:
        self._call("Marionette:SetContext", value="chrome")
        name = "layout.css.prefers-color-scheme.content-override"
        self.script(f"Services.prefs.setIntPref('{name}', {0 if dark else 1})")
        self._call("Marionette:SetContext", value="content")
        # the process of the page is told of it later
        self.wait(f"matchMedia('(prefers-color-scheme: {'dark' if dark else 'light'})').matches")

    def close(self) -> None:
        self._call("DeleteSession")
        self._socket.close()


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Chromium]:
    port = _free_port()
    with _running(["chromedriver", f"--port={port}"], directory / "chromedriver.log"):
        _until(lambda: requests.get(f"http://127.0.0.1:{port}/status", timeout=5, proxies={"http": ""}).ok)
        browser = Chromium(f"http://127.0.0.1:{port}")
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def firefox(directory: Path) -> Iterator[Firefox]:
    profile = directory / "firefox"
    profile.mkdir()
    settings: Dict[str, Any] = {
        "marionette.port": 0,
        "browser.shell.checkDefaultBrowser": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "app.update.enabled": False,
        "network.proxy.type": 0,
    }
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in settings.items()]
    (profile / "user.js").write_text("".join(lines))
    options = ["--headless", "--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(profile)]
    words = ["firefox-esr", *options, "about:blank"]
    with _running(words, directory / "firefox.log", HOME=str(directory)):
        port = _until(lambda: int((profile / "MarionetteActivePort").read_text()))
        browser = Firefox(port)
        try:
            yield browser
        finally:
            browser.close()


#: name -> (programs that it needs, how it is started)
BROWSERS = {"chromium": (("chromium", "chromedriver"), chromium), "firefox": (("firefox-esr",), firefox)}


def missing(name: str) -> List[str]:
    return [program for program in BROWSERS[name][0] if not shutil.which(program)]


@contextlib.contextmanager
def _running(words: List[str], log: Path, **environment: str) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env={**os.environ, **environment})
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(answer: Any) -> Any:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return answer()
        except (OSError, ValueError, requests.RequestException):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
