"""Pages before a browser sees them: the answer on top of a report, and what keeps a page closed."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from dmdlab.pages.answer import LEFT, RIGHT, Ruler, answer
from dmdlab.pages.templates import HERE, embedded, render
from dmdlab.pairing import PairingReport, calibrate, measure
from dmdlab.pairing.measured import Measured

N, D = 80, 4


def report(kept: float, scale: float = 1.0, calibrated: bool = False) -> PairingReport:
    """Of a student with just this pair_cosine, and its teacher's covariance for scale 1."""
    rng = np.random.default_rng(0)
    both = rng.normal(size=(N, 2 * D))
    z, other = np.split(np.sqrt(N) * np.linalg.qr(both - both.mean(0))[0], 2, axis=1)
    student = scale * (kept * z + np.sqrt(1 - kept**2) * other)
    fresh = rng.normal(size=(2 * N, D))
    calibration = calibrate(lambda x: x, z, fresh_noise=fresh, rng=rng, bases=2) if calibrated else None
    return measure(z, student, reference=fresh[:N], calibration=calibration)


@pytest.mark.parametrize(
    ("kept", "sentence"),
    [
        (1.0, "Yes: the student sends noise where its teacher does (pair_cosine 1;"),
        (0.985, "In part: some of the teacher's pairing is left (pair_cosine 0.985"),
        (0.8, "In part: some of the teacher's pairing is left (pair_cosine 0.8"),
        (0.0, "No: nothing of the teacher's pairing can be told from chance (pair_cosine"),
        (-1.0, "No: the student pairs against its teacher (pair_cosine -1;"),
    ],
)
def test_the_answer_says_whether_it_copies(kept: float, sentence: str) -> None:
    assert answer(report(kept)).copies.startswith(sentence)


def test_the_answer_counts_in_degrees_where_there_is_a_calibration() -> None:
    found = answer(report(0.8, calibrated=True))
    assert re.search(r"as much as a turn by \d\d degrees would", found.copies)
    assert [ruler.label for ruler in found.rulers][:2] == ["pair_cosine", "remap_angle"]
    assert "95 % of students of exactly this law" in found.limits
    without = answer(report(0.8))
    assert "by convention" in without.limits
    assert [ruler.label for ruler in without.rulers] == ["pair_cosine", "fidelity", "debiased_cost", "variance_ratio"]


def test_the_answer_is_not_to_be_trusted_where_the_law_is_another() -> None:
    assert "can be trusted once a rotated control" in answer(report(0.8)).trust
    nothing = answer(with_measures(pair_cosine=Measured(0.0)))
    assert nothing.trust.endswith("so this can be trusted")  # a control would show no pairing, either
    shrunk = answer(report(0.8, scale=0.5))
    assert "do not trust this as copying yet" in shrunk.trust
    assert "variance_ratio 0.2" in shrunk.trust
    constant = measure(np.eye(4), np.ones((4, 4)))
    assert answer(constant).copies.startswith("Whether the student copies cannot be said: ")
    assert answer(constant).rulers[0].at is None


def test_without_a_reference_trust_is_open() -> None:
    z = np.random.default_rng(0).normal(size=(N, D))
    assert "is open" in answer(measure(z, z)).trust


def with_measures(**measured: Measured) -> PairingReport:
    """A report in which these measures read so."""
    plain = report(0.8)
    return replace(plain, metrics=plain.metrics | measured)


def test_the_answer_on_a_pairing_against_the_teacher_and_on_a_right_angle() -> None:
    assert answer(with_measures(pair_cosine=Measured(-0.3))).copies.startswith("No: the student pairs against")
    for angle, told in ((75.0, "a turn by 75 degrees would"), (90.0, "a turn by 90 degrees or more would")):
        assert told in answer(with_measures(remap_angle=Measured(angle))).copies


@pytest.mark.parametrize("cosine", [-0.6, -0.3, -0.05, 0.3, 1.0])
def test_rulers_show_their_value_with_its_interval_and_a_copy_at_the_right(cosine: float) -> None:
    found = answer(
        with_measures(
            pair_cosine=Measured(cosine, cosine - 0.02, cosine + 0.02), remap_angle=Measured(60.0, 50.0, 70.0)
        )
    )
    rulers = {ruler.label: ruler for ruler in found.rulers}
    for ruler in rulers.values():
        assert all(LEFT < ruler.x(place) < RIGHT for place, _ in ruler.marks)
        assert ruler.at is not None
        assert LEFT < ruler.x(ruler.at) < RIGHT
        assert "beyond" not in ruler.value
        assert f"{ruler.label}: {ruler.value}; marks at " in ruler.spoken
    one, angle = rulers["pair_cosine"], rulers["remap_angle"]
    assert one.interval == (cosine - 0.02, cosine + 0.02)
    assert one.x(0.0) < one.x(1.0)
    assert angle.interval == (50.0, 70.0)
    assert angle.x(90.0) < angle.x(60.0) < angle.x(0.0)
    assert rulers["fidelity"].interval is None
    law = rulers["variance_ratio"]
    assert (law.low, law.high) == (0.8, 1.25)
    assert law.x(law.low) < law.x(1.0) < law.x(law.high)
    assert [name for _, name in law.marks] == ["0.8", "1.25"]


def test_a_value_beyond_its_ruler_says_so() -> None:
    found = {ruler.label: ruler for ruler in answer(with_measures(fidelity=Measured(9.0))).rulers}["fidelity"]
    assert found.value == "9 (beyond)"
    assert found.x(9.0) == RIGHT
    below = answer(with_measures(debiased_cost=Measured(-9.0))).rulers[-2]
    assert (below.label, below.value, below.x(-9.0)) == ("debiased_cost", "-9 (beyond)", LEFT)


def test_a_value_beyond_its_ruler_is_drawn_at_the_end() -> None:
    ruler = Ruler("x", "", 0.0, 1.0, 0.0, 0.0, (), 7.0, "7 (beyond)")
    assert ruler.x(7.0) == ruler.x(1.0)
    assert ruler.x(0.0) < ruler.x(0.5) < ruler.x(1.0)


def test_the_policy_allows_just_this_style_and_this_script() -> None:
    text = render("explorer/page/index.html", script="'use strict';", title="<b>", payload=embedded({}))
    held = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert held is not None
    assert "<b>" not in text
    for name in ("style", "script"):
        inner = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
        assert len(inner) == 1
        digest = base64.b64encode(hashlib.sha256(inner[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in held.group(1)
    assert held.group(1).startswith("default-src 'none'")
    assert held.group(1).endswith("; img-src data: blob:; base-uri 'none'; form-action 'none'")  # nothing is fetched
    with pytest.raises(ValueError, match="would end it"):
        render("explorer/page/index.html", script="'</SCRIPT>'", title="", payload=embedded({}))


def test_every_key_of_the_address_is_documented() -> None:
    model = (HERE / "explorer" / "page" / "model.js").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z]+)`", (HERE.parents[1] / "docs" / "explorer.md").read_text(encoding="utf-8")))
    rules = model[model.index("const found = {") : model.index("for (const one of causes)")]
    keys = set(re.findall(r"^ {8}([a-z]+):", rules, re.MULTILINE))
    controls = model[model.index("const CONTROLS") : model.index("const MOST_PINS")]
    names = set(re.findall(r'"([a-z]+)"', controls))
    assert len(keys) > 15
    assert len(names) > 15
    assert keys | names <= told


NEWER = re.compile(
    r":has\(|color-mix|oklch|@container|@layer|\d[dls]v[hw]\b|^\s*&|structuredClone|\.toSorted|\.toReversed|findLast|groupBy"
    r"|Float16Array|OffscreenCanvas|\(\?<[=!]|static\s*\{|^\s*import\b|\bimport\(|^(export|await)\b|checkVisibility|<dialog",
    re.MULTILINE,
)
"""What asks for younger browsers than docs/explorer.md names, by MDN's tables of support."""


def test_pages_use_nothing_younger_than_the_browsers_that_the_docs_name() -> None:
    told = (HERE.parents[1] / "docs" / "explorer.md").read_text(encoding="utf-8")
    assert re.search(r"Chrome and Edge\s93,\sFirefox\s92,\sSafari\s15\.4", told)
    sources = [path for kind in ("js", "css", "html") for path in HERE.rglob(f"*.{kind}")]
    assert len(sources) > 40
    for path in sources:
        code = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert NEWER.findall(code) == [], path.name
    for young in (".choice:has(input)", "  & .inner {", "const a = structuredClone(b)", "/(?<=a)b/", "import x"):
        assert NEWER.search(young), young


def test_embedded_data_cannot_end_its_element_and_read_back_the_same() -> None:
    value = {"</script><!--": ["&amp;", "\u2028\u2029", "<b>", 1.5, None]}
    text = str(embedded(value))
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded(float("nan"))
