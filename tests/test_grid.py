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


def test_the_page_comes_out_of_the_kept_summaries_to_the_byte() -> None:
    text = grid.GUIDE.read_text(encoding="utf-8")
    found = grid.stored()
    assert found
    assert grid.page(found, text) == text


def test_shares_are_those_of_the_sums_of_squares() -> None:
    """Starts at ± a / 2, gradients at -b, 0, b: a^2 / 4 and 2 b^2 / 3 a run."""
    shares = grid.shares(cells(runs(0.8, 0.3)))
    total = 0.8**2 / 4 + 2 * 0.3**2 / 3
    assert shares == pytest.approx((0.8**2 / 4 / total, 2 * 0.3**2 / 3 / total, 0, 0), abs=1e-12)
    assert math.isnan(grid.shares(cells(runs(0.8, 0.3, missing=True)))[0])


def test_a_run_is_named_by_what_trained_it() -> None:
    assert [grid.gradient(made(**own)) for own in KINDS.values()] == list(KINDS)
    both = {"terms__regression__weight": 0.25}
    assert grid.gradient(made(**both)) == "DMD + regression"


def test_the_figure_has_a_column_a_law_and_a_row_a_pairing() -> None:
    figure = grid.grid_figure(cells(runs(0.8, 0.3))).figure
    assert [axes.get_title() for axes in figure.axes] == ["mixture, d = 8", ""]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["teacher init", "rotated init"]
