"""What scrolling tells, the votes and the tour, in a browser."""

from pathlib import Path

import numpy as np
import page_made
import pytest
from browser import SCENES, Tab

from dmdlab.pairing import measure
from dmdlab.pairing.words import number

pytestmark = pytest.mark.browser


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


def test_what_a_turned_start_keeps_is_read_against_the_turned_teacher(tab: Tab, made: page_made.Made) -> None:
    asked = tab.page.evaluate("dmdlab.page.predict.questions(dmdlab.page.now.model, 1)")
    (question,) = (one for one in asked if one["see"] == "cause")
    turned = page_made.teacher(made.noise[2] @ page_made.turn(90.0))
    kept = measure(turned, made.student["rotated-2-0.001"]).metrics["pair_cosine"].value
    assert kept > 0.5
    assert f"behind the turn it reads {number(kept)}" in question["answer"]


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


@pytest.mark.parametrize(
    ("agrees", "convention", "said"),
    [
        ("true", "false", "no measure of the law tells this student from its teacher"),
        ("true", "true", "its law is near the teacher's by convention"),
        ("false", "false", "Its samples can still be told from the teacher's."),
        ("false", "true", "Its law is not near the teacher's by convention."),
        ("null", "true", "Whether its samples are right is not known."),
    ],
)
def test_what_is_said_of_the_law_knows_whose_limits_these_are(
    tab: Tab, agrees: str, convention: str, said: str
) -> None:
    told = f"{{...model.payload.runs[0], law_agrees: {agrees}, law_by_convention: {convention}}}"
    assert said in tab.page.evaluate(
        f"(() => {{ const {{ model }} = dmdlab.page.now; return dmdlab.page.ofTheLaw(model, {told}); }})()"
    )


def test_of_runs_that_agree_in_all_settings_that_with_as_many_rows_is_taken(tab: Tab) -> None:
    found = tab.page.evaluate(
        """(() => {
          const { model } = dmdlab.page.now;
          const base = model.payload.runs[0];
          const fewer = { ...base, id: "fewer", pairs: "fewer" };
          model.payload.pairs.fewer = { ...model.payload.pairs[base.pairs], rows: 7 };
          const both = [fewer, base];
          const found = [base, fewer].map((near) => model.nearest({}, near, both).id);
          delete model.payload.pairs.fewer;
          return [found, base.id];
        })()"""
    )
    assert found[0] == [found[1], "fewer"]
