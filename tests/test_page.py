"""The explorer in a real browser: opened from disk, offline; each thing a class can do, held against Python."""

import csv
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser as driven
import numpy as np
import page_made
import pytest
from browser import Tab

from dmdlab.pages.explorer import assemble
from dmdlab.pages.measurement import measure_all
from dmdlab.pages.report import page as report_page
from dmdlab.pairing import Pairs, measure
from dmdlab.pairing.words import number

pytestmark = pytest.mark.browser
SCENES = ("predict", "noise", "training", "fields", "cause", "dimension", "remap", "circle")
Open = Callable[..., Tab]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    yield from driven.chromium()


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


def test_it_opens_from_disk_and_scrolling_alone_tells_the_story(tab: Tab, file: Path) -> None:
    assert file.stat().st_size < 3_000_000
    for scene in SCENES[1:]:
        tab.page.evaluate("(id) => document.getElementById(id).scrollIntoView({behavior: 'instant'})", scene)
        tab.settle()
        assert tab.page.locator(f"#{scene} .finding").inner_text() != "", scene
        inked = tab.page.evaluate(
            """(id) => [...document.querySelectorAll(`#${id} canvas`)].map((canvas) => {
              const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
              let count = 0;
              for (let i = 3; i < data.length; i += 4) count += data[i] > 0;
              return count / (data.length / 4);
            })""",
            scene,
        )
        assert inked, scene
        assert min(inked) > 0.002, scene
    beats = tab.page.locator(".beat")
    for i in range(beats.count()):
        beats.nth(i).evaluate("(node) => node.scrollIntoView({behavior: 'instant', block: 'center'})")
        tab.settle()
        assert "now" in (beats.nth(i).get_attribute("class") or "")


def test_hovering_the_noise_says_where_both_maps_lead(tab: Tab, made: page_made.Made) -> None:
    canvas = "#noise .plane:first-child canvas"
    x, y = tab.screen(canvas, 0.5, -0.75, 3.2)
    tab.page.mouse.move(x, y)
    tab.settle()
    z = 80 * np.array(tab.state("z"))
    np.testing.assert_allclose(z / 80, [[0.5, -0.75]], atol=0.05)
    there, here = page_made.teacher(z)[0], _student(made, z)[0]
    place = tab.page.locator("#noise .readout")
    for key, expected in (("teacher", there), ("student", here)):
        np.testing.assert_allclose(_pair(place.get_attribute(f"data-{key}")), expected, atol=1e-5)
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


def _holds_at(tab: Tab, made: page_made.Made, moment: int) -> None:
    student = page_made.linear(made.noise[2], 80.0, _weights(made, moment))
    report = measure(made.teacher[2], student, calibration=made.calibration[2])
    cosine, ratio, angle = tab.read("training", "pair_cosine", "variance_ratio", "angle")
    assert cosine == pytest.approx(report.metrics["pair_cosine"].value, abs=1e-5)
    assert ratio == pytest.approx(report.metrics["variance_ratio"].value, rel=1e-4)
    assert angle == pytest.approx(report.metrics["remap_angle"].value, abs=0.6)


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


def test_another_cause_another_pairing(tab: Tab, made: page_made.Made) -> None:
    for init in ("rotated", "random", "teacher"):
        tab.page.locator("#cause").get_by_role("radio", name=init).check()
        tab.settle()
        assert tab.state("init") == init
        report = measure(made.teacher[2], made.student[f"{init}-2-0.001"])
        ruler = tab.page.locator('#cause [data-metric="pair_cosine"]')
        assert float(ruler.get_attribute("data-value")) == pytest.approx(report.metrics["pair_cosine"].value)
    tab.page.locator("#cause").get_by_label("1e-4").focus()
    tab.page.keyboard.press("Space")
    tab.settle()
    assert tab.page.locator("#cause .readout").get_attribute("data-run") == "teacher-2-0.0001"
    tab.page.locator("#cause").get_by_role("radio", name="rotated").check()
    tab.settle()
    assert tab.state("rate") == "0.001"  # there is no other run from that start


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


def test_the_fields_are_those_of_the_denoisers(tab: Tab, made: page_made.Made) -> None:
    tab.set(sigma=0.5, when=2)
    x = np.array(tab.page.evaluate("[...dmdlab.page.fields.places({centre: [0, 0], half: 3})]")).reshape(-1, 2)
    steps = page_made.denoise(x, 0.5) - x
    fake = page_made.linear(x, 0.5, _weights(made, 2)) - x
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


def test_answers_stay_hidden_until_the_class_has_voted(tab: Tab, made: page_made.Made) -> None:
    card = tab.page.locator("#predict .question")
    assert card.get_attribute("data-right") == ""
    assert card.locator(".answer").count() == 0
    asked = tab.page.evaluate("dmdlab.page.predict.questions(dmdlab.page.now.model, 1)")
    assert len(asked) >= 3
    wanted = made.student["teacher-2-0.001"][asked[0]["rows"][asked[0]["right"]]]
    assert np.all(np.isfinite(wanted))
    card.locator("[data-option='0']").click()
    card.locator("[data-option='1']").focus()
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Enter")
    assert card.locator(".vote .number").all_inner_texts() == ["1", "2", "0"]
    assert card.locator(".answer").count() == 0
    card.get_by_text("Show the answer").click()
    assert int(card.get_attribute("data-right") or -1) == asked[0]["right"]
    assert asked[0]["answer"] in card.locator(".answer").inner_text()
    card.get_by_text("Next question").click()
    tab.settle()
    assert card.get_attribute("data-right") == ""
    assert tab.state("question") == 2


def test_the_tour_walks_by_keys_and_sets_what_it_tells(tab: Tab) -> None:
    tab.page.get_by_text("Guided tour").click()
    tab.settle()
    seen = []
    for _ in range(12):
        bar = tab.page.locator("[data-tour]")
        if not bar.is_visible():
            break
        seen.append(bar.locator("p").inner_text())
        tab.page.keyboard.press("Enter")  # the focus is on Next
        tab.settle()
    assert 8 <= len(seen) <= 10
    assert len(set(seen)) == len(seen)
    assert tab.state("tour") == 0
    assert tab.state("theta") == 45


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
    assert page_made.HOSTILE in tab.page.locator("#about").inner_text()
    assert page_made.HOSTILE in tab.page.title()


def test_a_file_without_networks_shows_its_rows(visit: Open, tmp_path: Path) -> None:
    made = page_made.Made(n=40, dims=(8,))
    (path := tmp_path / "rows.html").write_text(assemble.page(made.payload), encoding="utf-8")
    tab = visit(path=path)
    tab.set(z=[[0.1, 0.2]])
    tab.until("document.querySelector('#noise .readout').textContent !== ''")
    nearest = np.argmin(np.hypot(*(made.noise[8][:, :2] / 80 - [0.1, 0.2]).T))
    told = tab.page.locator("#noise .readout")
    np.testing.assert_allclose(_pair(told.get_attribute("data-teacher")), made.teacher[8][nearest, :2], atol=1e-5)
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


@pytest.mark.parametrize("context", [{}, {"color_scheme": "dark", "viewport": {"width": 390, "height": 844}}])
def test_axe_finds_nothing_and_nothing_overflows(visit: Open, context: dict[str, Any], request: Any) -> None:
    source = driven.axe_source(Path(request.config.cache.mkdir("axe")))
    tab = visit("#tour=1", reduced_motion="reduce", **context)
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.page.evaluate(source)
    found = tab.page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})"
    )
    told = [f"{fault['id']}: {[node['html'][:120] for node in fault['nodes'][:3]]}" for fault in found["violations"]]
    assert told == []


def test_the_measurement_report_opens_dark_and_accessible(visit: Open, tmp_path: Path, request: Any) -> None:
    rng = np.random.default_rng(0)
    P, G, Q = rng.normal(size=(3, 40, 4))
    found = measure_all("a <b>.npz", Pairs.of(P, P + 0.5 * G, reference=Q), quick=True)
    (path := tmp_path / "report.html").write_text(report_page(found), encoding="utf-8")
    source = driven.axe_source(Path(request.config.cache.mkdir("axe")))
    tab = visit(path=path, ready="main", color_scheme="dark", viewport={"width": 390, "height": 844})
    assert tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert "In part" in tab.page.locator(".answer").inner_text()
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    tab.page.evaluate(source)
    found = tab.page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
    assert [(fault["id"], fault["nodes"][0]["html"][:120]) for fault in found["violations"]] == []


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


def test_numbers_read_as_in_python(tab: Tab) -> None:
    values = [0.0, 1.0, 0.1234, 12.345, 99.96, 123.4, 1e9, 2.5e12, 1e-4, 9.9e-5, -3.21e-7, -0.5, 1234567.0]
    found = tab.page.evaluate("(values) => values.map(dmdlab.page.words.number)", values)
    assert found == [number(value) for value in values]
    assert tab.page.evaluate("dmdlab.page.words.number(null)") == number(math.nan)


def test_the_glossary_is_the_table_of_measures(tab: Tab, made: page_made.Made) -> None:
    assert tab.page.locator("#words dt").all_inner_texts() == list(made.payload["glossary"])


def _student(made: page_made.Made, z: np.ndarray) -> np.ndarray:
    return page_made.linear(z, 80.0, _weights(made, -1))


def _weights(made: page_made.Made, moment: int) -> np.ndarray:
    return made.weights["teacher-2-0.001"][moment]


def _pair(text: str | None) -> list[float]:
    return [float(part) for part in (text or "").split(",")]
