"""Dial, planted remaps, circle and words: every number of the page against Python."""

import math
import re

import page_made
import pytest
from browser import Tab

from dmdlab.pairing import METRICS, measure
from dmdlab.pairing.words import number

pytestmark = pytest.mark.browser


def test_the_dial_always_shows_floor_value_and_ceiling(tab: Tab, made: page_made.Made) -> None:
    tab.page.get_by_label("Dimension of the data").focus()
    tab.page.keyboard.press("Home")
    for d in (2, 8, 32):
        tab.settle()
        ruler = tab.page.locator('#dimension [data-metric="delta_e"]')
        found = [float(ruler.get_attribute(f"data-{key}")) for key in ("floor", "value", "ceiling")]
        report = measure(made.teacher[d], made.student[f"teacher-{d}-0.001"])
        assert found[1] == pytest.approx(report.metrics["delta_e"].value, abs=1e-9)
        assert found[2] == pytest.approx(report.metrics["delta_e_ceiling"].value, rel=1e-9)
        assert found[0] == 0
        told = tab.page.locator("#dimension .readout").inner_text()
        assert all(number(value) in told for value in found)
        tab.page.keyboard.press("ArrowRight")


def test_a_planted_remap_reads_as_in_python(tab: Tab, made: page_made.Made) -> None:
    slider = tab.page.get_by_label("Turn of the noise")
    slider.focus()
    for _ in range(15):
        tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_timeout(500)
    assert tab.state("theta") == 60
    turned = page_made.teacher(made.noise[2] @ page_made.turn(60.0))
    report = measure(made.teacher[2], turned)
    keys = ("pair_cosine", "delta_e", "delta_e_ceiling", "copy_index", "pair_auc", "identity_fraction")
    for key, value in zip(keys, tab.read("remap", *keys), strict=True):
        assert value == pytest.approx(report.metrics[key].value, rel=2e-3, abs=1e-4), key
    drawn = tab.page.locator("#remap .metric text.value").all_text_contents()
    expected = [number(made.calibration[32].at(key, 60.0)) for key in page_made.KEPT]
    assert [text for text in drawn if text] == expected


def test_every_planted_metric_says_what_it_means(tab: Tab) -> None:
    told = tab.page.locator("#remap .metric .title").all_inner_texts()
    assert [text.split(" ", 1)[0] for text in told] == list(page_made.KEPT)
    meant = [METRICS[key].title or METRICS[key].reads_as for key in page_made.KEPT]
    assert all(0 < len(text.split(" ", 1)[1]) < 60 for text in told)
    assert all(meaning.startswith(text.split(" ", 1)[1]) for text, meaning in zip(told, meant, strict=True))


def test_guessing_the_metric_hides_names_until_it_is_checked(tab: Tab) -> None:
    tab.page.get_by_label("Guess the metric").check()
    tab.settle()
    names = tab.page.locator("#remap .metric .title").all_inner_texts()
    assert names == [f"Panel {letter}" for letter in "ABCDEF"]
    order = tab.page.evaluate("dmdlab.page.remap.shuffled(" + str(list(page_made.KEPT)) + ", 1)")
    for i, key in enumerate(order[:4]):
        tab.page.locator("#remap .metric select").nth(i).select_option(key)
    tab.page.get_by_text("Check the guesses").click()
    assert tab.read("remap", "right") == [4]


def test_the_circle_turns_at_no_loss(tab: Tab) -> None:
    tab.page.get_by_label("Turn theta").focus()
    tab.page.keyboard.press("End")
    tab.settle()
    loss, cosine = tab.read("circle", "loss", "cosine")
    assert abs(loss) < 1e-9
    assert cosine == pytest.approx(-1.0, abs=0.01)
    tab.set(circle=0)
    assert tab.read("circle", "cosine") == pytest.approx([1.0])
    told = tab.page.locator("#circle .finding").inner_text()
    assert re.search(r"the loss is at most 0 \(.*goes from 1 to -(1|0\.99\d*)\.", told)


def test_numbers_read_as_in_python(tab: Tab) -> None:
    values = [0.0, 1.0, 0.1234, 12.345, 99.96, 123.4, 1e9, 2.5e12, 1e-4, 9.9e-5, -3.21e-7, -0.5, 1234567.0]
    found = tab.page.evaluate("(values) => values.map(dmdlab.page.words.number)", values)
    assert found == [number(value) for value in values]
    assert tab.page.evaluate("dmdlab.page.words.number(null)") == number(math.nan)


def test_the_glossary_is_the_table_of_measures(tab: Tab, made: page_made.Made) -> None:
    assert tab.page.locator("#words dt").all_inner_texts() == list(made.payload["glossary"])


def test_no_dot_covers_the_words_of_a_chart(tab: Tab) -> None:
    tab.set(theta=45, dim="8", init="random")
    found = tab.page.evaluate(
        """() => [...document.querySelectorAll('.chart')].flatMap((chart) => {
          const box = (node) => node.getBoundingClientRect();
          const words = [...chart.querySelectorAll('text.halo')].map((node) => [node.textContent, box(node)]);
          const dots = [...chart.querySelectorAll('circle')].map((node) => ['a dot', box(node)]);
          return words.flatMap(([name, a], i) => [...words.slice(0, i), ...dots].map(([other, b]) => {
            const [wide, high] = [0, 1].map((k) => k === 0
              ? Math.min(a.right, b.right) - Math.max(a.left, b.left)
              : Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top));
            return [name, other, wide > 3 && high > 3];
          }));
        })"""
    )
    assert len(found) > 10
    assert [pair[:2] for pair in found if pair[2]] == []
