"""Chromium without a window, told what to do through its DevTools' pipe."""

import json
import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")


def find_browser():
    """The path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """A browser with one page; as a context manager it ends with the block.

    What the page writes to the console, what goes wrong in it, and what it loads are kept in
    `messages` and `requests`.
    """

    def __init__(self, executable, profile):
        commands, self._to_browser = os.pipe()
        self._from_browser, answers = os.pipe()
        self.messages, self.requests = [], []
        self._number, self._unread, self._events, self._session = 0, b"", [], None
        # The browser reads commands from descriptor 3, and writes answers to 4.
        script = 'exec "$@" 3<&"$IN" 4>&"$OUT"'
        options = ["--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        options += ["--no-first-run", "--disable-gpu", "--hide-scrollbars"]
        if os.geteuid() == 0:
            options.append("--no-sandbox")
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", executable, *options, "about:blank"],
            env=os.environ | {"IN": str(commands), "OUT": str(answers)},
            pass_fds=(commands, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self._to_browser)
        self._process.kill()
        self._process.wait()
        os.close(self._from_browser)

    def _read(self):
        """The next message of the browser; events are looked at on the way."""
        while b"\0" not in self._unread:
            chunk = os.read(self._from_browser, 2**20)
            if not chunk:
                raise EOFError("the browser has ended")
            self._unread += chunk
        content, _, self._unread = self._unread.partition(b"\0")
        message = json.loads(content)
        kind = message.get("method")
        if kind in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(message["params"])
        elif kind == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message

    def call(self, method, **parameters):
        """Call a method of the DevTools' protocol; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._events.append(answer.get("method"))

    def open(self, path, width=1280, scheme="light"):
        """Open a file and wait until all of it is loaded."""
        self.messages.clear()
        self.requests.clear()
        self._events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=800, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._events.append(self._read().get("method"))

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key, code):
        """Press a key, such as Enter, whose code is 13."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if kind == "keyDown" and code == 13 else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, **text)  # fmt: skip

    def click(self, x, y):
        """Click at a place of the window, in pixels."""
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
