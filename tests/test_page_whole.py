"""The page around its figures: address, hostile text, printing, files, accessibility; and the measurement report."""

import csv
import io
from pathlib import Path
from typing import Any

import browser
import numpy as np
import page_made
import pytest
from browser import SCENES, Open, Tab

from dmdlab.pages.explorer import assemble
from dmdlab.pages.measurement import measure_all
from dmdlab.pages.report import page as report_page
from dmdlab.pairing import Pairs

pytestmark = pytest.mark.browser


def test_the_address_holds_the_state_and_hides_controls(visit: Open) -> None:
    tab = visit("#theta=30&init=rotated&z=0.5,0.5&draw=7&hide=tour,theta")
    assert (tab.state("theta"), tab.state("init"), tab.state("z"), tab.state("draw")) == (
        30,
        "rotated",
        [[0.5, 0.5]],
        7,
    )
    assert not tab.page.locator("[data-problems]").is_visible()
    assert not tab.page.get_by_text("Guided tour").is_visible()
    assert not tab.page.get_by_label("Turn of the noise").is_visible()
    assert tab.page.get_by_label("Turn theta").is_visible()
    named = tab.page.evaluate("[...document.querySelectorAll('[data-control]')].map((node) => node.dataset.control)")
    assert set(named) <= set(tab.page.evaluate("dmdlab.page.model.CONTROLS"))
    tab.set(circle=90)
    tab.until("location.hash.includes('circle=90')")
    address = tab.page.evaluate("location.hash")
    assert "seed=0" in address
    assert "draw=7" in address
    again = visit(address)
    assert again.page.evaluate("dmdlab.page.now.store.all()") == tab.page.evaluate("dmdlab.page.now.store.all()")


def test_an_address_out_of_range_is_clamped_and_said(visit: Open) -> None:
    tab = visit("#theta=999&pins=1,1;90,0&init=sideways&<img src=x onerror=alert(1)>=2")
    told = tab.page.locator("[data-problems]").inner_text()
    assert "theta = 999 is outside 0 to 180; 180 is shown" in told
    assert "init = sideways is not in this file (teacher, rotated, random)" in told
    assert "90,0 is outside -4 to 4" in told
    assert "does not know" in told
    assert (tab.state("theta"), tab.state("pins")) == (180, [[1, 1], [4, 0]])
    assert tab.page.locator("img").count() == 0


def test_hostile_names_stay_text(visit: Open, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(assemble.page(page_made.Made(n=40, dims=(2, 8), hostile=True).payload), encoding="utf-8")
    tab = visit(path=path)
    assert tab.page.locator("img, b").count() == 0
    assert page_made.HOSTILE in tab.page.locator("p.run").inner_text()
    about = tab.page.locator("#about").inner_text()
    assert page_made.HOSTILE in about
    assert "This file holds 6 students of one seed." in about
    assert page_made.HOSTILE in tab.page.title()


def test_a_printed_page_is_light_and_holds_every_figure(visit: Open) -> None:
    tab = visit(color_scheme="dark")
    tab.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    tab.page.emulate_media(media="print", color_scheme="dark")
    for scene in SCENES:
        assert tab.page.locator(f"#{scene} canvas").first.is_visible(), scene
        assert not tab.page.locator(f"#{scene} .saving").is_visible(), scene
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.page.evaluate("dmdlab.page.theme.colour('teacher')") == "#0072b2"


def test_figures_are_saved_as_png_and_csv(tab: Tab, made: page_made.Made) -> None:
    with tab.page.expect_download() as saved:
        tab.page.locator("#cause").get_by_text("PNG").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    assert saved.value.suggested_filename == "dmdlab-cause.png"
    with tab.page.expect_download() as saved:
        tab.page.locator("#noise").get_by_text("CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
    pairs = [row for row in rows if row["kind"].startswith("pair ")]
    assert len(pairs) == made.n
    found = [[float(row["teacher_x"]), float(row["teacher_y"])] for row in pairs]
    np.testing.assert_allclose(found, made.teacher[2], atol=1e-6)


def test_tab_reaches_every_control_in_order_and_shows_a_ring(visit: Open) -> None:
    tab = visit("#guess=1", reduced_motion="reduce")
    waiting = tab.page.evaluate(
        """() => {
          const all = [...document.querySelectorAll('a[href], button, input, select, canvas[tabindex]')];
          window.waiting = all.filter((node) => node.checkVisibility() && !node.disabled
            && (node.type !== 'radio' || node.checked));
          return window.waiting.length;
        }"""
    )
    assert waiting > 40
    for i in range(waiting):
        tab.page.keyboard.press("Tab")
        found = tab.page.evaluate(
            """() => {
              const node = document.activeElement;
              const ring = getComputedStyle(node);
              return [window.waiting.indexOf(node), ring.outlineStyle, ring.outlineWidth];
            }"""
        )
        assert found == [i, "solid", "3px"]


@pytest.mark.parametrize("context", [{}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}])
def test_axe_finds_nothing_and_nothing_overflows(visit: Open, context: dict[str, Any], request: Any) -> None:
    source = browser.axe_source(Path(request.config.cache.mkdir("axe")))
    tab = visit("#tour=1", reduced_motion="reduce", **context)
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.evaluate(source)
    found = tab.page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    told = [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found["violations"]]
    assert told == []


_APART = """() => [...document.querySelectorAll('.chart, .ruler')].flatMap((chart) => {
  const words = [...chart.querySelectorAll('text')].map((node) => [node.textContent, node.getBoundingClientRect()]);
  return words.flatMap(([name, a], i) => words.slice(0, i)
    .filter(([, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
      && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 5)
    .map(([other]) => `${name} on ${other}`));
})"""


@pytest.mark.parametrize("size", [(1280, 800), (1024, 768), (768, 1024), (640, 400), (390, 844)])
def test_words_of_charts_stay_apart_on_a_projector_a_phone_and_enlarged(visit: Open, size: tuple[int, int]) -> None:
    """640 x 400 is a laptop at 200 percent."""
    tab = visit(reduced_motion="reduce", viewport={"width": size[0], "height": size[1]})
    tab.settle()
    assert tab.page.locator(".chart text").count() > 50
    assert tab.page.evaluate(_APART) == []
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = """() => [...document.querySelectorAll('.chart text, .ruler text, .readout, .title, button, label, legend')]
      .filter((node) => parseFloat(getComputedStyle(node).fontSize) < 13).map((node) => node.textContent)"""
    assert tab.page.evaluate(small) == []


def test_words_along_an_axis_are_slanted_where_they_would_collide(tab: Tab) -> None:
    drawn = """(width) => {
      const picture = document.querySelector('#cause .chart').cloneNode();
      const words = ['teacher', 'rotated', 'random'];
      const x = {low: -0.5, high: 2.5, ticks: [0, 1, 2], format: (i) => words[i]};
      dmdlab.page.chart.draw(picture, width, 200, {x, y: {low: 0, high: 1, hidden: true}});
      return [...picture.querySelectorAll('text')].map((text) => [text.textContent, text.hasAttribute('transform')]);
    }"""
    for width, slanted in ((400, False), (150, True)):
        assert tab.page.evaluate(drawn, width) == [[word, slanted] for word in ("teacher", "rotated", "random")]


def test_the_measurement_report_opens_dark_and_accessible(visit: Open, tmp_path: Path, request: Any) -> None:
    rng = np.random.default_rng(0)
    P, G, Q = rng.normal(size=(3, 40, 4))
    found = measure_all("a <b>.npz", Pairs.of(P, P + 0.5 * G, reference=Q), quick=True)
    (path := tmp_path / "report.html").write_text(report_page(found), encoding="utf-8")
    source = browser.axe_source(Path(request.config.cache.mkdir("axe")))
    tab = visit(path=path, ready="main", color_scheme="dark", viewport={"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    inside = "[...document.querySelectorAll('td')].every((cell) => cell.getBoundingClientRect().right <= innerWidth)"
    assert tab.page.evaluate(inside)
    shown = "(own) => own.clientWidth == Math.min(own.getAttribute('width'), 672)"  # 42rem: its type can be read
    assert tab.page.evaluate(f"[...document.querySelectorAll('.drawing img')].map({shown})") == [True, True]
    tab.page.set_viewport_size({"width": 680, "height": 900})  # of a sheet of paper between its margins
    tab.page.emulate_media(media="print")
    assert tab.page.evaluate(inside)
    tab.page.emulate_media(media="screen", color_scheme="dark")
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert "In part" in tab.page.locator(".answer").inner_text()
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    tab.page.evaluate(source)
    found = tab.page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
    assert [(fault["id"], fault["nodes"][0]["html"][:120]) for fault in found["violations"]] == []
