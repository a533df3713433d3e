"""A real browser for the tests of pages: Debian's Chromium, driven by Playwright, and shut off from the network."""

import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
REQUIRED = "CI" in os.environ or os.environ.get("DMDLAB_BROWSER") == "required"
AXE = "axe-core@4.10.3"


def without(reason: str) -> Any:
    """Skip, or fail where a browser is required (CI, or DMDLAB_BROWSER=required)."""
    return pytest.fail(reason) if REQUIRED else pytest.skip(reason)


def chromium() -> Iterator[Any]:
    """A running Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        without("no Playwright; pip install 'dmdlab[browser]'")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        without("no Chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


_SETTLED = """() => new Promise((done) => {
  setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 150);
})"""


class Tab:
    """One page in a context of its own; what it asks of the network and what goes wrong in it is kept."""

    def __init__(
        self, browser: Any, path: Path, address: str = "", ready: str = "html[data-ready]", **context: Any
    ) -> None:
        settings = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **context}
        self.context = browser.new_context(offline=True, **settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30000)
        self.asked: list[str] = []
        self.wrong: list[str] = []
        self.first: dict[str, Any] = {}
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri() + address)
        self.page.wait_for_selector(ready, state="attached")

    def close(self) -> None:
        """Nothing may have left the file, and nothing may have gone wrong."""
        self.context.close()
        assert self.wrong == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:", "blob:"))] == []

    def read(self, scene: str, *keys: str) -> list[float]:
        """Numbers of a figure's read-out, once they are there."""
        place = self.page.locator(f"#{scene} .readout")
        for key in keys:
            self.page.wait_for_selector(f"#{scene} .readout[data-{dashed(key)}]", state="attached")
        return [float(place.get_attribute(f"data-{dashed(key)}")) for key in keys]

    def settle(self) -> None:
        """Wait until what was asked for is drawn and told."""
        self.page.evaluate(_SETTLED)

    def until(self, expression: str, seconds: float = 20.0) -> None:
        """Wait for something to be so; by asking again, since the page's policy allows no text to become code."""
        ends = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            assert time.monotonic() < ends, expression
            self.page.wait_for_timeout(50)

    def state(self, key: str) -> Any:
        """A value of the page's state."""
        return self.page.evaluate("(key) => dmdlab.page.now.store.get(key)", key)

    def set(self, **change: Any) -> None:
        """Change the state as a control would."""
        self.page.evaluate("(change) => dmdlab.page.now.store.set(change)", change)
        self.settle()

    def screen(self, selector: str, x: float, y: float, half: float) -> tuple[float, float]:
        """Where a place of a plane around (0, 0) lies on the screen."""
        self.page.locator(selector).scroll_into_view_if_needed()
        box = self.page.locator(selector).bounding_box()
        assert box is not None
        unit = box["width"] / (2 * half)
        return box["x"] + box["width"] / 2 + x * unit, box["y"] + box["height"] / 2 - y * unit


def dashed(key: str) -> str:
    """The attribute of a data-set key, which HTML writes in lower case."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in key)


Open = Callable[..., Tab]
"""Opens the page at an address; `path` of another file, and what a context takes."""

SCENES = ("predict", "noise", "training", "fields", "cause", "dimension", "remap", "circle")
"""Sections of the explorer that hold a canvas, by id."""


def axe_source(folder: Path) -> str:
    """axe-core's script, fetched once into `folder`; never part of the repository."""
    script = folder / "package" / "axe.min.js"
    if not script.is_file():
        npm = shutil.which("npm")
        if npm is None:
            without("no npm to fetch axe-core with")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            without(f"axe-core cannot be fetched: {done.stderr.strip()[:200]}")
        with tarfile.open(folder / done.stdout.strip().splitlines()[-1]) as archive:
            packed = archive.extractfile("package/axe.min.js")
            assert packed is not None
            script.parent.mkdir(exist_ok=True)
            script.write_bytes(packed.read())
    return script.read_text(encoding="utf-8")
