"""The page on start or gradient comes out of kept summaries; its shares are those of a two-way analysis by hand."""

import math
import sys
from pathlib import Path

import pytest
from made import made

from dmdlab.records.cells import cells

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import grid  # noqa: E402

KINDS = {
    "DMD": {},
    "SiD": {"student__weight": 0.0, "terms__sid__weight": 1.0},
    "GAN alone": {"student__weight": 0.0, "terms__gan__weight": 1.0},
}


def runs(of_start: float, of_kind: float, missing: bool = False) -> list[grid.Record]:
    """Two starts, three gradients, two seeds, whose pair_cosine is a sum of parts."""
    found = []
    for i, init in enumerate(("teacher", "rotated")):
        for j, own in enumerate(KINDS.values()):
            for seed in (0, 1):
                value = of_start * (i - 0.5) + of_kind * (j - 1)
                found.append(made(init=init, seed=seed, pair_cosine=value, **own))
    return found[:-1] if missing else found


@pytest.fixture(scope="module")
def stored() -> dict[str, list[grid.Record]]:
    return grid.stored()


def test_the_page_comes_out_of_the_kept_summaries_to_the_byte(stored: dict[str, list[grid.Record]]) -> None:
    text = grid.GUIDE.read_text(encoding="utf-8")
    found = stored
    assert found
    assert grid.page(found, text) == text


def test_shares_are_those_of_the_sums_of_squares() -> None:
    """Starts at ± a / 2, gradients at -b, 0, b: a^2 / 4 and 2 b^2 / 3 a run."""
    shares = grid.shares(cells(runs(0.8, 0.3)))
    total = 0.8**2 / 4 + 2 * 0.3**2 / 3
    assert shares == pytest.approx((0.8**2 / 4 / total, 2 * 0.3**2 / 3 / total, 0, 0), abs=1e-12)
    assert math.isnan(grid.shares(cells(runs(0.8, 0.3, missing=True)))[0])


def test_the_verdict_on_shares_says_what_hangs_on_a_seed_and_on_a_start(stored: dict[str, list[grid.Record]]) -> None:
    """G4: shares of starts and gradients with one seed left out, and without the start that is the teacher's again."""
    text = grid.GUIDE.read_text(encoding="utf-8")
    verdict = next(line for line in text.splitlines() if line.startswith("| G4 | With"))
    found = [cell for own in stored.values() for cell in cells(own)]

    def two(law: str, seed: int | None = None, without: str = "") -> str:
        own = [cell for cell in found if grid.law(cell) == law and cell.init != without]
        left = [grid.Cell(c.keys, tuple(r for r in c.records if r.config["seed"] != seed)) for c in own]
        start, kind, *_ = grid.shares(left)
        return f"{100 * start:.0f} against {100 * kind:.0f}"

    plane, space, manifold = "mixture, d = 2", "mixture, d = 32", "manifold, d = 64"
    assert f"more in the plane ({two(plane, 101)} %" in verdict
    assert f"not always in 32 dimensions ({two(space, 102)})" in verdict
    more = (two(space, without="other"), two(manifold, without="other"), two(plane, without="other"))
    assert "32 dimensions ({}) and on the manifold ({}; in the plane {})".format(*more) in verdict


def test_a_run_is_named_by_what_trained_it() -> None:
    assert [grid.gradient(made(**own)) for own in KINDS.values()] == list(KINDS)
    both = {"terms__regression__weight": 0.25}
    assert grid.gradient(made(**both)) == "DMD + regression"


def test_the_figure_has_a_column_a_law_and_a_row_a_pairing() -> None:
    figure = grid.grid_figure(cells(runs(0.8, 0.3))).figure
    assert [axes.get_title() for axes in figure.axes] == ["mixture, d = 8", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["teacher init", "rotated init"]
