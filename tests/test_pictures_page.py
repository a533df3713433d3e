"""The tables of docs/pictures.md, whose runs are not kept, and what is said of the quickstart, against kept numbers."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

from dmdlab.pairing import mean_interval, paired_difference
from dmdlab.pairing.statistics import pearson
from dmdlab.pairing.words import ends, interval, number

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "figures"))
from mnist_seeds import AGAIN, MORE_SEEDS, NEW_SEEDS, kept, seeds_table  # noqa: E402
from pictures import EXPERIMENTS  # noqa: E402

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


def test_differences_in_prose_are_those_of_paired_seeds() -> None:
    """The seeds of MNIST, once and again, the two oldest teachers, and students that are told the class."""
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8").replace("\n", " ")

    def of(name: str, key: str, value: str, measure: str = "remap_angle", start: str = "teacher") -> list[float]:
        rows = [r for r in kept(name) if (r[key], r["student.init"]) == (value, start)]
        return [float(r[measure] or "nan") for r in sorted(rows, key=lambda r: int(r["seed"]))]

    rate = "student.learning_rate"
    rates = ("0.0002", "0.0005", "0.002")
    for name, seed, told_angles in (
        ("mnist", 0, "25, 38 and 66"),
        ("mnist", 1, "46, 63 and 40"),
        ("mnist", 2, "40, 55 and 76"),
        (AGAIN, 0, "25, 59 and 54"),
    ):
        assert "{:.0f}, {:.0f} and {:.0f}".format(*(of(name, rate, own)[seed] for own in rates)) == told_angles
        assert told_angles in page
    apart = [[abs(a - b) for a, b in zip(of("mnist", rate, x), of(AGAIN, rate, x), strict=True)] for x in rates]
    assert max(apart[0]) < 5
    assert [round(max(own)) for own in apart[1:]] == [21, 23]
    assert "within 5 degrees of before at 2e-4, but up to 21 away at 5e-4 and up to 23 at 2e-3" in page
    nine = [[v for name in (NEW_SEEDS, MORE_SEEDS) for v in of(name, rate, own)] for own in rates]
    twelve = [[*of(AGAIN, rate, own), *others] for own, others in zip(rates, nine, strict=True)]
    assert [len(values) for values in twelve] == [12, 12, 12]
    lost, most = (paired_difference(twelve[i], twelve[0]) for i in (1, 2))
    assert f"5e-4 loses {lost.mean:.1f} degrees more than 2e-4 ({lost.low:.1f} to {lost.high:.1f})" in page
    assert f"2e-3 at least {most.mean:.1f} more than 2e-4 ({most.low:.1f} to {most.high:.1f}; " in page
    alone = paired_difference(nine[1], nine[0])
    assert f"100 to 108, say {alone.mean:.1f} ({alone.low:.1f} to {alone.high:.1f})" in page
    between = paired_difference(twelve[2], twelve[1])
    assert between.low < 0 < between.high
    own = [[v for name in (NEW_SEEDS, MORE_SEEDS) for v in of(name, rate, x, "own_angle", "rotated")] for x in rates]
    lost, most = (paired_difference(own[i], own[0]) for i in (1, 2))
    assert f"{lost.mean:.1f} degrees more at 5e-4 than at 2e-4 ({lost.low:.1f} to {lost.high:.1f})" in page
    assert f"at least {most.mean:.1f} more at 2e-3 ({most.low:.1f} to {most.high:.1f})" in page
    alike = [pearson(np.array(a), np.array(b)) for a, b in zip(own[:2], nine, strict=False)]
    small, middle = (f"{found.value:.2f} at {{}} ({found.low:.2f} to {found.high:.2f})" for found in alike)
    assert f"with a correlation of {small.format('2e-4')} and {middle.format('5e-4')}" in page
    cut = [a < 90 and b < 90 for a, b in zip(own[2], nine[2], strict=True)]
    assert "at 2e-3 the six seeds that no bound cuts" in page
    assert sum(cut) == 6
    controls = [v for name in (NEW_SEEDS, MORE_SEEDS) for x in rates for v in of(name, rate, x, start="rotated")]
    assert f"they read {np.nanmin(controls):.1f} to {np.nanmax(controls):.0f} (one at" in page
    assert np.isnan(controls).sum() == 1
    sides = [of("classes", "teacher.condition", own, "pair_cosine") for own in ("True", "False")]
    classes = paired_difference(*sides)
    assert f"pair_cosine by {classes.mean:.3f} ({classes.low:.3f} to {classes.high:.3f})" in page
    apart = (of("classes", "teacher.condition", "True", key, "rotated") for key in ("copy_index", "pair_cosine"))
    index, cosine, angle = (np.mean(v) for v in (*apart, of("classes", "teacher.condition", "True", start="rotated")))
    assert f"a copy_index of {index:.2f} and a pair_cosine of {cosine:.2f} over all samples" in page
    assert f"not flattered ({angle:.0f} degrees)" in page
    turned = paired_difference(*(of("classes", "teacher.condition", own) for own in ("True", "False")))
    assert f"differs by {turned.mean:.1f} degrees ({turned.low:.1f} to {turned.high:.1f}, paired" in page


def test_what_is_said_of_the_manifolds_sides() -> None:
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8").replace("\n", " ")
    runs = sorted((r for r in kept("manifold") if r["student.init"] == "teacher"), key=lambda r: int(r["seed"]))

    def of(side: str, measure: str) -> list[float]:
        return [float(r[measure]) for r in runs if r["law.side"] == side]

    angles, costs = ([of(side, key) for side in ("8", "16")] for key in ("remap_angle", "teacher_transport_ratio"))
    assert "by {:.0f} and {:.0f} degrees".format(*map(np.mean, angles)) in page
    more = paired_difference(angles[1], angles[0])
    assert f"loses {more.mean:.1f} degrees more ({more.low:.1f} to {more.high:.1f}, paired over six seeds)" in page
    ends_of = [f"{min(own):.2f} to {max(own):.2f}" for own in costs]
    assert f"{ends_of[1]} times what data does, at side 8 {ends_of[0]})" in page
    assert min(costs[1]) > 1.5 > max(costs[0])
    assert {r["delta_e"] for r in runs} == {"0.0"}


def test_what_is_said_of_a_teachers_age() -> None:
    page = (ROOT / "docs" / "pictures.md").read_text(encoding="utf-8").replace("\n", " ")
    runs = [r for r in kept("teacher-age") if r["student.init"] == "teacher"]
    ages = ("100", "300", "800", "1500")

    def of(age: str, measure: str = "remap_angle") -> list[float]:
        own = sorted((r for r in runs if r["teacher.snapshot"] == age), key=lambda r: int(r["seed"]))
        return [float(r[measure]) for r in own]

    def ends_of(values: list[float], digits: int = 2) -> str:
        return f"{min(values):.{digits}f} to {max(values):.{digits}f}"

    def more(a: str, b: str, measure: str = "remap_angle", digits: int = 1) -> str:
        found = paired_difference(of(a, measure), of(b, measure))
        mean, low, high = (f"{x:.{digits}f}" for x in (found.mean, found.low, found.high))
        return f"{mean} ({low} to {high})"

    assert "at least {:.0f}, then {:.0f}, {:.0f} and {:.0f} degrees".format(*(np.mean(of(age)) for age in ages)) in page
    assert f"300 less 800: {more('300', '800')}, 800 less 1500: {more('800', '1500')}, not told" in page
    assert f"({', '.join(f'{a:.0f}' for a in sorted(of('300'), reverse=True)[:5])} and {min(of('300')):.0f})" in page
    start = "own_pair_cosine_start"
    assert f"it is {ends_of(of('300', start))} at 300 iterations and {ends_of(of('800', start))} at 800" in page
    assert more("300", "800", start, 2).replace(" (", " more; ") in page
    assert f"next to none ({ends_of(of('100', start))})" in page
    most = {age: of(age, "pair_cosine_highest") for age in ages}
    assert f"to a pair_cosine of {ends_of([v for age in ages[1:] for v in most[age]])} from 300 iterations on" in page
    assert sum(end < high / 2 for end, high in zip(of("300", "pair_cosine"), most["300"], strict=True)) == 2
    gaussian = [np.mean(of(age, "pair_cosine_gaussian")) for age in ages[1:]]
    assert f"reads {min(gaussian):.2f} to {max(gaussian):.2f} with these" in page
    differences = np.array(of("300")) - np.array(of("800"))
    assert (differences > 0).all()
    assert np.sort(differences)[-2:].sum() > differences.sum() / 2
    last = of("100", "pair_cosine")
    assert f"anywhere from {max(last):.2f} to {min(last):.2f}" in page
    assert last.index(min(last)) == 3
    assert f"local_cosine {of('100', 'local_cosine')[3]:.2f})" in page
    costs = {age: of(age, "teacher_transport_ratio") for age in ages}
    assert [v < 1.5 for age in ages for v in costs[age]] == [False] * 18 + [True] + [False] * 5
    assert f"cost {ends_of(costs['1500'], 3)} times" in page


def test_what_is_said_of_the_quickstart() -> None:
    """Of delta_e and its ceiling from d = 2 to d = 32, in the README and on its page."""
    pages = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/quickstart.md")]
    runs = sorted((r for r in kept("quickstart") if r["student.init"] == "teacher"), key=lambda r: int(r["seed"]))

    def of(dim: str, measure: str) -> np.ndarray:
        return np.array([float(r[measure]) for r in runs if r["law.dim"] == dim])

    (low, high), (under, above) = ([of(dim, key) for dim in ("2", "32")] for key in ("delta_e", "delta_e_ceiling"))
    means = [float(x.mean()) for x in (low, high, under, above)]
    risen = int((high / above > low / under).sum())
    counted = {3: "three seeds of four"}
    for page in (" ".join(page.split()) for page in pages):
        assert f"{np.median(low) / np.median(high):.1f}-fold" in page
        assert {9: "falls ninefold"}[round(means[0] / means[1])] in page
        assert f"falls {means[2] / means[3]:.0f}-fold" in page
        assert f"from {means[0] / means[2]:.2f} to {means[1] / means[3]:.2f} (in {counted[risen]})" in page


def short(text: str) -> str:
    """A setting as a table writes it."""
    try:
        return number(float(text) if "." in text or "e-" in text else int(text))
    except ValueError:
        return text
