"""The numbers beside a figure along a setting, against what is drawn."""

import csv
from pathlib import Path

import numpy as np
from made import made
from test_plots_axis import RATES, drawn, rates, renamed

from dmdlab.plots import Choice, Drawing, draw, save


def test_the_numbers_beside_a_figure_are_those_of_its_marks(tmp_path: Path) -> None:
    own = {"student__learning_rate": RATES[0], "fidelity": 3.0}
    unresolved = renamed(made(dim=2, seed=7, pair_cosine=None, **own), "no pairing told")
    of_bad_teacher = renamed(made(dim=8, seed=7, ok=False, **own), "bad teacher")
    choice = Choice("student.learning_rate", "law.dim", measures=("delta_e", "pair_cosine"))
    drawing = draw("axis", [*rates(fidelity=3.0), unresolved, of_bad_teacher], choice=choice)
    written = save(drawing, tmp_path / "rates.pdf")
    assert written[-1] == tmp_path / "rates-numbers.csv"
    with written[-1].open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["law.name", "law.dim", "student.learning_rate", "measure"]
    assert [row["measure"] for row in rows] == 6 * ["delta_e"] + 6 * ["delta_e_ceiling"] + 6 * ["pair_cosine"]
    for axes, key in zip(drawing.figure.axes, ("delta_e", "pair_cosine"), strict=False):
        for dim in ("2", "8"):
            mine = [row for row in rows if (row["measure"], row["law.dim"]) == (key, dim)]
            (line,) = drawn(axes, f"{dim} line")
            np.testing.assert_array_equal([float(row["mean"]) for row in mine], line.get_ydata())
            assert [float(row["student.learning_rate"]) for row in mine] == list(RATES)
            assert [row["other_law"] for row in mine].count("True") == len(drawn(axes, f"{dim} hollow")) == 3
            dots = [len(seeds.get_ydata()[~np.isnan(seeds.get_ydata())]) for seeds in drawn(axes, f"{dim} seeds")]
            assert [int(row["seeds"]) for row in mine] == dots
            assert [row["unresolved"] for row in mine] == [str(int((key, dim) == ("pair_cosine", "2"))), "0", "0"]
            assert [row["teachers_failed"] for row in mine] == [str(int(dim == "8")), "0", "0"]
    save(Drawing(drawing.figure, "another figure in its place"), tmp_path / "rates")
    assert not written[-1].exists()
    assert all(float(row["low"]) <= float(row["mean"]) <= float(row["high"]) for row in rows if row["low"])
