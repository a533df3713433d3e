"""The noise plane by pointer, keys and touch, without networks and of pictures; what it leads to, against Python."""

from pathlib import Path

import numpy as np
import page_made
import pytest
from browser import Open, Tab

from dmdlab.pages.explorer import assemble
from dmdlab.pairing.words import number

pytestmark = pytest.mark.browser


def test_hovering_the_noise_says_where_both_maps_lead(tab: Tab, made: page_made.Made) -> None:
    canvas = "#noise .plane:first-child canvas"
    x, y = tab.screen(canvas, 0.5, -0.75, 3.2)
    tab.page.mouse.move(x, y)
    tab.settle()
    z = 80 * np.array(tab.state("z"))
    np.testing.assert_allclose(z / 80, [[0.5, -0.75]], atol=0.05)
    there, here = page_made.teacher(z)[0], made.student_of(z)[0]
    place = tab.page.locator("#noise .readout")
    for key, expected in (("teacher", there), ("student", here)):
        np.testing.assert_allclose(page_made.pair(place.get_attribute(f"data-{key}")), expected, atol=1e-5)
    apart, percentile = tab.read("noise", "distance", "percentile")
    assert apart == pytest.approx(np.linalg.norm(there - here), abs=1e-5)
    all_apart = np.linalg.norm(made.teacher[2] - made.student["teacher-2-0.001"], axis=1)
    assert percentile == pytest.approx(100 * np.mean(all_apart <= apart), abs=0.1)
    tab.page.mouse.down()
    tab.page.mouse.up()
    tab.settle()
    assert tab.state("pins") == tab.state("z")
    told = place.inner_text()
    assert number(apart) in told
    others = np.linalg.norm(made.student["teacher-2-0.001"][:, None] - made.teacher[2], axis=-1)
    mean = others[~np.eye(made.n, dtype=bool)].mean()
    assert f"two different noises it would be {number(mean)}." in tab.page.locator("#noise .finding").inner_text()


def test_the_noise_plane_by_keys_pins_regions_and_the_grid(tab: Tab, made: page_made.Made) -> None:
    tab.set(z=[[0.2, 0.1]])
    tab.page.locator("#noise .plane:first-child canvas").focus()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp", "Enter", "r", "+", "ArrowLeft", "Enter", "Delete"):
        tab.page.keyboard.press(key)
    tab.settle()
    assert tab.state("z") == [[0.25, 0.35]]
    assert tab.state("pins") == [[0.3, 0.35]]
    assert tab.state("region") == [[0.3, 0.35, 0.6]]
    inside = np.hypot(*(made.noise[2] / 80 - [0.3, 0.35]).T) <= 0.6
    assert f"holds {inside.sum()} of the pairs" in tab.page.locator("#noise .readout").inner_text()
    tab.page.get_by_label("Deformed grid").check()
    tab.page.get_by_text("draws a region", exact=True).click()
    x, y = tab.screen("#noise .plane:first-child canvas", 1.0, 1.0, 3.2)
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    x, y = tab.screen("#noise .plane:first-child canvas", 1.0, 0.0, 3.2)
    tab.page.mouse.move(x, y, steps=3)
    tab.page.mouse.up()
    tab.settle()
    assert tab.state("region")[0] == pytest.approx([1.0, 1.0, 1.0], abs=0.05)
    assert tab.state("grid") is True


def test_touch_looks_and_scrolls(visit: Open) -> None:
    tab = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    x, y = tab.screen("#noise .plane:first-child canvas", 1.0, 0.5, 3.2)
    tab.page.touchscreen.tap(x, y)
    tab.settle()
    assert tab.state("z")[0] == pytest.approx([1.0, 0.5], abs=0.05)
    assert tab.state("pins") == []
    tab.page.get_by_text("Pin this place").tap()
    tab.settle()
    assert len(tab.state("pins")) == 1


def test_a_file_without_networks_shows_its_rows(visit: Open, tmp_path: Path) -> None:
    made = page_made.Made(n=40, dims=(8,))
    (path := tmp_path / "rows.html").write_text(assemble.page(made.payload), encoding="utf-8")
    tab = visit(path=path)
    tab.set(z=[[0.1, 0.2]])
    tab.until("document.querySelector('#noise .readout').textContent !== ''")
    nearest = np.argmin(np.hypot(*(made.noise[8][:, :2] / 80 - [0.1, 0.2]).T))
    told = tab.page.locator("#noise .readout")
    np.testing.assert_allclose(
        page_made.pair(told.get_attribute("data-teacher")), made.teacher[8][nearest, :2], atol=1e-5
    )
    assert "nearest pair of this file" in told.inner_text()
    assert "keeps its fake score" in tab.page.locator("#fields").inner_text()
    assert "more than two dimensions" in tab.page.locator("#training").inner_text()


def test_pictures_show_rows_and_the_way_between_two_noises(visit: Open, tmp_path: Path) -> None:
    made = page_made.Made(n=40, dims=(2,), pictures=True)
    (path := tmp_path / "pictures.html").write_text(assemble.page(made.payload), encoding="utf-8")
    tab = visit(path=path)
    assert not tab.page.locator("#noise").is_visible()
    rows = tab.page.evaluate(
        """() => [...document.querySelectorAll("#pictures .pictures")].map((row) => [...row.children].map((canvas) =>
          [...canvas.getContext("2d").getImageData(0, 0, 4, 4).data].filter((_, i) => i % 4 === 0)))"""
    )
    for key, row in zip(("one_step", "teacher", "student"), rows, strict=False):
        np.testing.assert_array_equal(row, made.pictures[key])
    assert [len(row) for row in rows] == [3, 3, 3, 2, 2]
