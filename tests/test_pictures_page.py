"""The tables of docs/pictures.md, whose runs are not kept, against the numbers that are (figures/*.csv)."""

import csv
import sys
from pathlib import Path

import pytest

from dmdlab.pairing import mean_interval
from dmdlab.pairing.words import ends, interval, number

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "figures"))
from pictures import EXPERIMENTS, seeds_table  # noqa: E402

LOGARITHMIC, STUDENTS = ("delta_e", "delta_e_ceiling"), ("pair_cosine", "local_cosine", "variance_ratio")


def told(values: list[float], name: str) -> str:
    """Mean and interval as a table has them."""
    found = mean_interval(values, method="log" if name in LOGARITHMIC else "t")
    return (ends if name in LOGARITHMIC else interval)(found.mean, found.low, found.high)


@pytest.mark.parametrize("name", list(EXPERIMENTS))
def test_a_table_says_what_the_kept_numbers_say(name: str) -> None:
    (key,) = EXPERIMENTS[name]
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")
    head, _, *lines = page.split(f"<!-- table {name} -->\n")[1].split("\n\n")[0].splitlines()
    columns = head.strip("| ").split(" | ")
    with (ROOT / "figures" / f"{name}.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert len(lines) == len({(run[key], run["student.init"]) for run in kept})
    for line in lines:
        row = dict(zip(columns, line.strip("| ").split(" | "), strict=True))
        own = [r for r in kept if (short(r[key]), r["student.init"]) == (row[key], row["init"])]
        for measure in (*LOGARITHMIC, *STUDENTS):
            assert row[measure] == told([float(run[measure]) for run in own], measure), (row[key], measure)


def test_the_table_of_seeds_says_what_the_kept_numbers_say() -> None:
    assert "\n".join(seeds_table()) in (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8")


def short(text: str) -> str:
    """A setting as a table writes it."""
    try:
        return number(float(text) if "." in text or "e-" in text else int(text))
    except ValueError:
        return text
