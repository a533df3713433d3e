"""Scrubbing through a training, its fields and its causes, in a browser against Python."""

import csv
import io
from pathlib import Path

import numpy as np
import page_made
import pytest
from browser import Open, Tab

from dmdlab.diagnosis.columns import COLUMNS
from dmdlab.pages.explorer import assemble
from dmdlab.pairing import measure

pytestmark = pytest.mark.browser


def test_scrubbing_training_moves_points_and_numbers_along(tab: Tab, made: page_made.Made) -> None:
    tab.set(moment=4)
    slider = tab.page.get_by_label("Moment of training", exact=True)
    slider.focus()
    for key in ("Home", "ArrowRight"):
        tab.page.keyboard.press(key)
    tab.settle()
    assert tab.state("moment") == 1
    _holds_at(tab, made, 1)
    tab.page.get_by_label("One moment on").click()
    tab.settle()
    _holds_at(tab, made, 2)
    tab.page.locator("#training").get_by_text("Play").click()
    tab.until("dmdlab.page.now.store.get('moment') === 4")


def test_a_loss_that_asks_for_pairs_is_told(visit: Open, tmp_path: Path) -> None:
    made = page_made.Made(n=40, dims=(2,))
    made.payload["runs"][0]["asks_for_pairs"] = True
    (path := tmp_path / "regression.html").write_text(assemble.page(made.payload), encoding="utf-8")
    tab = visit(path=path)
    assert "told its teacher's pairs, too" in tab.page.locator("p.run").inner_text()
    assert "asks for the teacher's pairs, too" in tab.page.locator("#training .finding").inner_text()
    assert "asks for either pairing" not in tab.page.locator("#cause .finding").inner_text()
    tab.set(run=made.payload["runs"][1]["id"])
    assert "told its teacher's pairs" not in tab.page.locator("p.run").inner_text()
    assert "never looks at the pairing" in tab.page.locator("#training .finding").inner_text()


def _holds_at(tab: Tab, made: page_made.Made, moment: int) -> None:
    student = page_made.linear(made.noise[2], 80.0, made.weights_at(moment))
    report = measure(made.teacher[2], student, calibration=made.calibration[2])
    cosine, ratio, angle = tab.read("training", "pair_cosine", "variance_ratio", "angle")
    assert cosine == pytest.approx(report.metrics["pair_cosine"].value, abs=1e-5)
    assert ratio == pytest.approx(report.metrics["variance_ratio"].value, rel=1e-4)
    assert angle == pytest.approx(report.metrics["remap_angle"].value, abs=0.6)


def test_the_fields_are_those_of_the_denoisers(tab: Tab, made: page_made.Made) -> None:
    tab.set(sigma=0.5, when=2)
    x = np.array(tab.page.evaluate("[...dmdlab.page.fields.places({centre: [0, 0], half: 3})]")).reshape(-1, 2)
    steps = page_made.denoise(x, 0.5) - x
    fake = page_made.linear(x, 0.5, made.weights_at(2)) - x
    run = "dmdlab.page.now.model.living[0]"
    found = tab.page.evaluate(
        f"""() => {{
          const maps = dmdlab.page.now.model.maps({run});
          const x = dmdlab.page.fields.places({{centre: [0, 0], half: 3}});
          const fake = (at, sigma) => maps.fake(at, sigma, 2);
          return [...dmdlab.numerics.dmdArrow(maps.denoise, fake, x, 0.5)];
        }}"""
    )
    np.testing.assert_allclose(np.array(found).reshape(-1, 2) * 0.25, steps - fake, atol=1e-6)
    slider = tab.page.get_by_label("Noise level sigma")
    slider.focus()
    tab.page.keyboard.press("End")
    tab.settle()
    assert tab.read("fields", "sigma") == [80.0]
    tab.page.keyboard.press("Home")
    tab.settle()
    assert tab.read("fields", "sigma") == [0.002]


def test_the_csv_has_the_curve_of_a_run_under_its_own_names(tab: Tab) -> None:
    with tab.page.expect_download() as saved:
        tab.page.locator("#training").get_by_text("CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(saved.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == 5
    assert all(value for row in rows for value in row.values())
    assert rows[0].keys() <= COLUMNS.keys() | {"pair_cosine", "remap_angle"}


def test_a_setting_that_the_opening_run_lacks_is_a_cause(visit: Open, tmp_path: Path) -> None:
    made, key = page_made.Made(n=40, dims=(2,)), "terms.gan.weight"
    made.payload["axes"].append(page_made.axis(key, key, [None, 0.00025, 0.003]))
    weights = {"rotated-2-0.001": 0.00025, "random-2-0.001": 0.003}
    for run in made.payload["runs"]:
        run["settings"][key] = weights.get(run["id"])
    (path := tmp_path / "gan.html").write_text(assemble.page(made.payload), encoding="utf-8")
    tab = visit("#init=teacher&terms.gan.weight=null", path=path)
    assert not tab.page.locator("[data-problems]").inner_text()
    cause = tab.page.locator("#cause")
    shown = "teacher-2-0.001"
    for name, other in (("none", shown), ("2.5e-4", "rotated-2-0.001"), ("none", shown)):
        radio = cause.get_by_role("group", name=key).get_by_role("radio", name=name, exact=True)
        radio.check()
        tab.settle()
        assert radio.is_checked()
        assert cause.locator(".readout").get_attribute("data-run") == other
        assert "no run with just these" not in cause.locator(".readout").inner_text()


def test_another_cause_another_pairing(tab: Tab, made: page_made.Made) -> None:
    for init in ("rotated", "random", "teacher"):
        tab.page.locator("#cause").get_by_role("radio", name=init).check()
        tab.settle()
        assert tab.state("init") == init
        report = measure(made.teacher[2], made.student[f"{init}-2-0.001"])
        ruler = tab.page.locator('#cause [data-metric="pair_cosine"]')
        assert float(ruler.get_attribute("data-value")) == pytest.approx(report.metrics["pair_cosine"].value)
    tab.page.locator("#cause").get_by_label("2.5e-4", exact=True).focus()
    tab.page.keyboard.press("Space")
    tab.settle()
    assert tab.page.locator("#cause .readout").get_attribute("data-run") == "teacher-2-0.00025"
    tab.page.locator("#cause").get_by_role("radio", name="rotated").check()
    tab.settle()
    assert tab.state("rate") == "0.001"  # there is no other run from that start
