"""Fixtures of the tests that open the explorer: one Chromium, one file, one page set back for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import page_made
import pytest
from browser import Open, Tab
from browser import chromium as launched

from dmdlab.pages.explorer import assemble


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    yield from launched()


@pytest.fixture(scope="session")
def made() -> page_made.Made:
    return page_made.Made()


@pytest.fixture(scope="session")
def file(made: page_made.Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(assemble.page(made.payload), encoding="utf-8")
    return path


@pytest.fixture
def visit(chromium: Any, file: Path) -> Iterator[Open]:
    """Opens the page; when the test ends, nothing may have been asked of the network or gone wrong."""
    tabs: list[Tab] = []

    def visiting(address: str = "", path: Path = file, **context: Any) -> Tab:
        tabs.append(Tab(chromium, path, address, **context))
        return tabs[-1]

    yield visiting
    for tab in tabs:
        tab.close()


@pytest.fixture(scope="session")
def shared(chromium: Any, file: Path) -> Iterator[Tab]:
    tab = Tab(chromium, file)
    first = tab.page.evaluate("dmdlab.page.now.store.all()")
    tab.first = first
    yield tab
    tab.close()


@pytest.fixture
def tab(shared: Tab) -> Iterator[Tab]:
    """One page for all tests that touch no address, set back to how it opened."""
    shared.page.mouse.move(2, 2)
    shared.set(**shared.first)
    yield shared
    assert shared.wrong == []
