"""A headless Chromium (DevTools) or Firefox (WebDriver BiDi): its page's requests and errors."""

import functools
import http.server
import itertools
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import closing, contextmanager

NAMES = {
    "chromium": ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "firefox": ("firefox-esr", "firefox"),
}
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--disable-extensions", "--no-default-browser-check"),
    *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
PREFERENCES = {  # of Firefox: where it downloads to is another one; few processes start sooner
    **{"browser.download.folderList": 2, "browser.download.useDownloadDir": True},
    **{"dom.ipc.processPrelaunch.enabled": False, "fission.autostart": False},
    **{"extensions.webextensions.remote": False, "browser.startup.page": 0},
    "browser.tabs.remote.separatePrivilegedContentProcess": False,
}


def program(name="chromium") -> str | None:
    return next(filter(None, map(shutil.which, NAMES[name])), None)


@contextmanager
def serving(folder):
    """A server of static files, as of ``python -m http.server``; gives (address, paths asked)."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        server.shutdown()


class Page:
    """One tab: addresses it asked for, and errors of scripts, console, network and policy."""

    def __init__(self, socket):
        self._socket, self._ids, self._session = socket, itertools.count(1), None
        self.requests, self.errors = [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Network", "Runtime", "Log", "Page", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        number = next(self._ids)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._note(answer.get("method"), answer.get("params"))

    def _note(self, method, event):
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(event["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(event["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a)) for a in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")

    def run(self, expression):
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, expression, seconds=60):
        """Wait until an expression holds; gives its value."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if value := self.run(expression):
                return value
            time.sleep(0.05)
        text = self.run("document.body.innerText")
        raise TimeoutError(f"{expression}\n{self.errors}\n{text}")

    def go(self, address):
        """Go there, whatever is there."""
        self.call("Page.navigate", url=address)

    def open(self, address):
        """Go there and wait until the page has loaded its model, or failed."""
        self.go(address)
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")
        self.wait("document.body.dataset.state !== 'loading'")

    def choose(self, selector, *files):
        """Choose files of the disk, or a folder, as with the browser's own dialogue."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[*map(str, files)])


class FirefoxPage(Page):
    """The same of Firefox; what it runs is an expression."""

    def __init__(self, socket):
        self._socket, self._ids, self._session = socket, itertools.count(1), None
        self.requests, self.errors = [], []
        self.call("session.new", capabilities={})
        self._tab = self.call("browsingContext.create", type="tab")["context"]
        self.call("session.subscribe", events=["log.entryAdded", "network.beforeRequestSent"])

    def _note(self, method, event):
        if method == "network.beforeRequestSent":
            self.requests.append(event["request"]["url"])
        elif method == "log.entryAdded" and event["level"] == "error":
            self.errors.append(event["text"])

    def run(self, expression):
        text = f"Promise.resolve({expression}).then((value) => JSON.stringify(value) ?? 'null')"
        where = {"target": {"context": self._tab}, "awaitPromise": True}
        answer = self.call("script.evaluate", expression=text, **where)
        if answer["type"] != "success":
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return json.loads(answer["result"]["value"])

    def go(self, address):
        self.call("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def choose(self, selector, *files):
        locator = {"type": "css", "value": selector}
        nodes = self.call("browsingContext.locateNodes", context=self._tab, locator=locator)
        chosen = {"element": nodes["nodes"][0], "files": [*map(str, files)]}
        self.call("input.setFiles", context=self._tab, **chosen)


@contextmanager
def _connected(words, file, address, cls):
    """A browser that writes into a file how it can be reached; gives a page of it."""
    import websocket

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, start_new_session=True, **quiet)
    try:
        until = time.monotonic() + 60
        while not (file.is_file() and file.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > until:
                raise TimeoutError(f"{words[0]} did not start")
            time.sleep(0.05)
        place = address(file.read_text())
        socket = websocket.create_connection(place, timeout=120, suppress_origin=True)
        with closing(socket):
            yield cls(socket)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def started(folder, *flags):
    """Chromium with its profile in ``folder``; gives a `Page`, which downloads to ``downloads``."""
    words = [program(), *FLAGS, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}"]
    file = folder / "DevToolsActivePort"
    address = "ws://127.0.0.1:{}{}".format
    with _connected(words, file, lambda text: address(*text.split()), Page) as page:
        page.downloads = folder / "downloads"
        path = str(page.downloads)
        page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=path)
        yield page


@contextmanager
def started_firefox(folder):
    """The same of Firefox; gives a `FirefoxPage`."""
    preferences = PREFERENCES | {"browser.download.dir": str(folder / "downloads")}
    lines = [f"user_pref({json.dumps(n)}, {json.dumps(v)});\n" for n, v in preferences.items()]
    (folder / "user.js").write_text("".join(lines))
    words = [program("firefox"), "--headless", "--remote-debugging-port=0", "--profile", folder]

    def address(text):
        return "ws://127.0.0.1:{ws_port}/session".format(**json.loads(text))

    file = folder / "WebDriverBiDiServer.json"
    with _connected([*map(str, words)], file, address, FirefoxPage) as page:
        page.downloads = folder / "downloads"
        yield page
