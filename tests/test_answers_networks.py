"""U-Nets against MLPs in docs/answers.md: what the tables set side by side, and what the prose says of them."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from answer_runs import run

from dmdlab.pairing import Interval, mean_interval
from dmdlab.records.cells import Cell, cells
from dmdlab.records.record import Record

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))

import answers
import answers_controls
import answers_dimension
import answers_networks
import answers_numbers

ROOT = Path(__file__).parents[1]


def test_a_cell_stands_beside_the_rotated_start_of_its_own_settings() -> None:
    records = [
        run(angle, seed, network__kind=kind, teacher__iterations=age, student__init=init)
        for kind, age, own in (("residual", 3000, 50.0), ("unet", 6000, 20.0), ("unet", 1500, 30.0))
        for init, angle in (("teacher", own), ("rotated", own + 5))
        for seed in (0, 1)
    ]
    *_, first, second, third = answers_networks.network_lines(cells(records))
    told = [[part.strip() for part in row.split("|")][1:-1] for row in (first, second, third)]
    assert [row[:2] for row in told] == [["U-Net", "1500"], ["U-Net", "6000"], ["MLP", "3000"]]
    assert [(row[6][:2], row[7][:2]) for row in told] == [("30", "35"), ("20", "25"), ("50", "55")]


def test_an_mlp_is_set_against_the_unet_that_was_chosen_for_it() -> None:
    """The MLP's angle less the U-Net's: 1 for each of its thousands of iterations, 2 for each of the U-Net's."""

    def given(kind: str, age: int, rate: float, iterations: int, angle: float, seed: int) -> object:
        more = {"teacher__iterations": age, "student__learning_rate": rate, "student__iterations": iterations}
        return run(angle + seed, seed, network__kind=kind, **more)

    unets = {a: 2 * a[0] / 1000 for a, _ in answers_networks.AGAINST}
    mlps = {b: b[0] / 1000 + b[2] / 1000 for _, b in answers_networks.AGAINST}
    records = [given("unet", *at, angle, s) for at, angle in unets.items() for s in (0, 1)]
    records += [given("residual", *at, angle, s) for at, angle in mlps.items() for s in (0, 1)]
    rows = answers_networks.against_lines(cells(records))[2:]  # type: ignore[arg-type]
    told = [float(row.split("|")[5].split("±")[0]) for row in rows]
    assert told == [mlps[b] - unets[a] for a, b in answers_networks.AGAINST]


@pytest.mark.parametrize(
    ("pairs", "names"),
    [
        (answers_networks.EQUAL, ["3000, 4000"] * 3 + ["800, 3000"]),
        (answers_networks.CUT, ["60, 1200", "40, 120", "30, 60"] * 2),
    ],
)
def test_from_fits_what_was_lost_is_set_against_what_was_lost(
    pairs: Sequence[tuple[answers_networks.Place, answers_networks.Place]], names: list[str]
) -> None:
    """Each begins where its fit left it; the MLP's training takes 3 degrees of it, the U-Net's 1."""

    def given(kind: str, fit: int, rate: float, iterations: int, took: float, seed: int) -> object:
        begins = fits.index(fit) + 1.0 + seed
        more = {"student__regression": fit, "student__learning_rate": rate, "student__iterations": iterations}
        record = run(begins + took + 0.01 * seed, seed, network__kind=kind, student__init="regressed", **more)
        record.summary["begun"] = {"angle": begins, "variance_ratio": 0.9}
        return record

    both, fits = (("unet", 1.0, 0), ("residual", 3.0, 1)), sorted({at[0] for pair in pairs for at in pair})
    records = [given(kind, *pair[i], took, s) for pair in pairs for kind, took, i in both for s in (0, 1)]
    rows = answers_networks.fitted_network_lines(cells(records), pairs)[2:]  # type: ignore[arg-type]
    told = [[part.strip() for part in row.split("|")][1:-1] for row in rows]
    assert [row[0] for row in told] == names
    for row, (unet, mlp) in zip(told, pairs, strict=True):
        assert [row[i].split(" ")[0] for i in (3, 6)] == [str(1.5 + fits.index(at[0])) for at in (unet, mlp)]
        assert row[9].startswith("2")
        assert row[-1] == "2"


def test_what_is_said_of_networks_is_what_the_kept_runs_say() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    found = answers_networks.from_one_step(answers.stored())
    own = answers_numbers.by_keys([c for c in found if c.init == "teacher"], *answers_networks.SETTINGS)
    turned = answers_numbers.by_keys([c for c in found if c.init == "rotated"], *answers_networks.SETTINGS)

    def mean(key: str, *place: object) -> float:
        return own[place].interval(key).mean

    def angles(kind: str, *ages: int, iterations: int = 1000) -> list[str]:
        return [f"{mean('remap_angle', kind, age, 5e-4, iterations):.0f}" for age in ages]

    def more(mlp: tuple[object, ...], unet: tuple[object, ...]) -> str:
        found = answers_numbers.contrast((), own["residual", *mlp], own["unet", *unet]).difference
        return f"{found.mean:.1f} ± {found.high - found.mean:.1f}"

    mlp, unet = angles("residual", 3000, 6000, 24000), angles("unet", 1500, 6000)
    assert f"the MLP's {mlp[0]} degrees at 3000 iterations become {mlp[2]} at 24 000" in text
    assert "the U-Net's {} at 1500 become {} at 6000".format(*unet) in text
    assert f"students lose {unet[1]}, {unet[0]}, {mlp[2]}, {mlp[1]} and {mlp[0]} degrees" in text
    last, best = (6000, 5e-4, 1000), (24000, 5e-4, 1000)
    assert f"lose {more(last, last)} degrees more at 5e-4" in text
    assert f"(1.09) {more(best, last)}, and {more((24000, 2e-4, 1000), (6000, 2e-4, 1000))} at 2e-4" in text
    assert f"there the MLP's lose {more(best, (1500, 5e-4, 1000))} more" in text
    begun = [f"{mean(answers_networks.START, 'unet', age, 5e-4, 1000):.2f}" for age in (6000, 1500)]
    begun += [f"{mean(answers_networks.START, 'residual', age, 5e-4, 1000):.2f}" for age in (24000, 6000, 3000)]
    said = "pair_cosine {} at 6000 iterations and {} at 1500, for {}, {} and {} in MLPs"
    assert said.format(*begun) in text
    longer = [
        mean("remap_angle", "residual", age, 5e-4, 4000) - mean("remap_angle", "residual", age, 5e-4, 1000)
        for age in (3000, 6000, 24000)
    ]
    assert f"loses {min(longer):.0f} to {max(longer):.0f} degrees more" in text
    moved = [mean("student_weight_movement", *at) for at in (("residual", *best), ("unet", *last), ("residual", *last))]
    assert f"({moved[0]:.3f} and {moved[1]:.3f} of" in text
    assert f"({moved[2]:.3f} and {moved[1]:.3f})" in text
    assert f"read {min(cell.interval('remap_angle').mean for cell in turned.values()):.1f} and more against" in text
    less = [answers_controls.more_lost_of_own(turned[place], own[place]) for place in own]
    assert f"within {max(abs(i.mean) for i in less):.1f} degrees" in text
    far = [place for place in own if not (answers_numbers.near(own[place]) and answers_numbers.near(turned[place]))]
    span = f"± {min(i.high - i.mean for i in less):.1f} to {max(i.high - i.mean for i in less):.1f}"
    assert (len(far), len(own)) == (5, 14)
    assert f"{span}; in five of 14 pairs one law or both are not near)" in text
    far = [place for place in own if not answers_numbers.near(own[place])]
    wanted = {("residual", age, 2e-4, 1000) for age in (3000, 6000, 24000)} | {("residual", 3000, 5e-4, 1000)}
    assert set(far) == wanted
    ratios = [mean("variance_ratio", *place) for place in far]
    assert f"variance ratio {min(ratios):.2f} to {max(ratios):.2f}; so the first and the last" in text
    weak = [i for i, (a, b) in enumerate(answers_networks.AGAINST) if {("unet", *a), ("residual", *b)} & wanted]
    assert weak == [0, len(answers_networks.AGAINST) - 1]
    assert all(i.low < 0 < i.high for i in less)
    assert not any(cell.flagged for cell in found)
    assert all(cell.poor for cell in found)
    costs = [float(record.row["teacher_transport_ratio"]) for cell in found for record in cell.records]
    assert f"(at most {max(costs):.2f}, limit 1.5)" in text


def test_what_is_said_of_fits_is_what_the_kept_runs_say() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    stored = answers.stored()
    one_step = answers_networks.from_one_step(stored)
    fitted = answers_numbers.by_keys(answers_networks.from_fits(stored), *answers_networks.FIT_SETTINGS)
    fits = [fitted[place] for a, b in answers_networks.EQUAL for place in (("unet", *a), ("residual", *b))]
    own = answers_numbers.by_keys([c for c in one_step if c.init == "teacher"], *answers_networks.SETTINGS)
    (_, unet_age, unet_fit), (_, mlp_age, mlp_fit) = answers_networks.BEST

    def from_fit(kind: str, rate: float, length: int) -> Cell:
        return fitted[kind, {"unet": unet_fit, "residual": mlp_fit}[kind], rate, length]

    def from_step(kind: str, rate: float, length: int) -> Cell:
        return own[kind, {"unet": unet_age, "residual": mlp_age}[kind], rate, length]

    def told(a: Cell, b: Cell, sign: int = 1) -> str:
        found = answers_numbers.contrast((), a, b).difference
        return f"{sign * found.mean:.1f} ± {found.high - found.mean:.1f}"

    def mlp_less_unet(of: Callable[..., Cell], rate: float, length: int, sign: int = 1) -> str:
        return told(of("residual", rate, length), of("unet", rate, length), sign)

    early = [mlp_less_unet(from_fit, rate, 1000, -1) for rate in (2e-4, 5e-4)]
    assert "students end {} (2e-4) and {} degrees (5e-4) *nearer*".format(*early) in text
    before = [mlp_less_unet(from_step, rate, 1000) for rate in (2e-4, 5e-4)]
    assert "from their teachers' one step they end {} and {} farther".format(*before) in text
    late = [mlp_less_unet(of, 5e-4, 4000) for of in (from_fit, from_step)]
    assert "no difference is told ({} farther; from one step {})".format(*late) in text
    findings = re.sub(r"\s+", " ", (ROOT / "docs" / "findings.md").read_text(encoding="utf-8"))
    assert f"they end {early[0]} (2e-4) and {early[1]} degrees (5e-4) *nearer* after 500 updates" in findings
    assert f"no difference is told ({late[0]})" in findings
    short = told(fitted["residual", 3000, 5e-4, 1000], fitted["unet", 800, 5e-4, 1000], -1)
    assert f"fits say the same ({short} nearer)" in text
    worse = [
        told(fitted[kind, fit, 5e-4, 1000], from_fit(kind, 5e-4, 1000))
        for kind, fit in (("unet", 800), ("residual", 3000))
    ]
    assert "moves the end by no more than that ({} in a U-Net, {} in an MLP)".format(*worse) in text
    farther = [
        np.mean(answers_dimension.begun_angles(fitted[kind, fit, 5e-4, 1000]))
        - np.mean(answers_dimension.begun_angles(from_fit(kind, 5e-4, 1000)))
        for kind, fit in (("unet", 800), ("residual", 3000))
    ]
    assert "a degree at the start ({:.1f} and {:.1f}) moves".format(*farther) in text
    lost = answers_networks._more_lost(from_fit("unet", 5e-4, 4000), from_fit("residual", 5e-4, 4000)).difference
    assert f"({lost.mean:.1f} ± {lost.high - lost.mean:.1f}: not told)" in text
    assert lost.low < 0 < lost.high
    grown = [by_seed(from_fit(kind, 5e-4, 4000), from_fit(kind, 5e-4, 1000)) for kind in ("unet", "residual")]
    assert f"MLPs lose {more(*grown)} degrees more than the U-Nets" in text
    begun = [{s: float(r.summary["begun"]["angle"]) for s, r in seeds(from_fit(k, 5e-4, 1000))} for k in KINDS]
    assert f"(the U-Net's {more(*begun)} degrees nearer, variance ratio 0.996 in both)" in text
    firsts = [answers_dimension.begun(from_fit(kind, 5e-4, 1000)) for kind in KINDS]
    assert all(first.endswith("(0.996)") for first in firsts)
    shown = answers_numbers.in_words(from_step("unet", 5e-4, 4000).interval("remap_angle"))
    assert f"at 27 degrees, 24 to 32 ({shown})" in text
    assert f"a U-Net's {told(from_step('unet', 5e-4, 4000), from_step('unet', 5e-4, 1000))}." in text
    ahead = [told(from_step(k, 5e-4, n), from_fit(k, 5e-4, n)) for k in KINDS for n in (1000, 4000)]
    assert "from {} to {} degrees between 500 and 2000 updates at 5e-4, in an MLP from {} to {}".format(*ahead) in text

    best = [from_step(kind, rate, 1000) for kind in KINDS for rate in (2e-4, 5e-4)]
    assert max(float(r.summary["begun"]["variance_ratio"]) for cell in best for r in cell.records) < 0.002
    spans = []
    for age in (1500, 6000):
        cell = own["unet", age, 2e-4, 1000]
        cosines = [float(r.row[answers_networks.START]) for r in cell.records]
        angles = [answers_numbers.known_angle(r) or 90 for r in cell.records]
        spans += [f"{min(cosines):.2f} to {max(cosines):.2f}", f"{min(angles):.1f} to {max(angles):.1f}"]
    assert (
        "start at {} and end within {} degrees (2e-4), those of 6000 start at {} and end within {}".format(*spans)
        in text
    )
    moved = [
        f"{from_fit(kind, rate, 1000).interval('student_weight_movement').mean:.3f}"
        for rate in (5e-4, 2e-4)
        for kind in reversed(KINDS)
    ]
    assert "({} and {} of their length after 500 updates; at 2e-4 {} and {})".format(*moved) in text
    low = [answers_numbers.in_words(lowest(from_fit(kind, 5e-4, 1000))) for kind in reversed(KINDS)]
    assert [round(float(part), 2) for own in low for part in own.split(" ± ")] == [0.55, 0.1, 0.89, 0.04]
    assert "lowest variance ratio at a checkpoint 0.55 ± 0.10, the U-Net's 0.89 ± 0.04" in text
    laws = [
        [cell.interval(key).mean for cell in fits if cell.value("network.kind") == kind]
        for key in ("debiased_cost", "fidelity")
        for kind in KINDS
    ]
    told_laws = [f"{min(v):.{p}f} to {max(v):.{p}f}" for v, p in zip(laws, (3, 3, 2, 2), strict=True)]
    assert "debiased_cost ({} for {}), but not by fidelity ({} for {})".format(*told_laws) in text
    assert all(answers_numbers.near(cell) for cell in fits)


def test_what_is_said_of_fits_cut_short_is_what_the_kept_runs_say() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    stored = answers.stored()
    fitted = answers_numbers.by_keys(answers_networks.from_fits(stored), *answers_networks.FIT_SETTINGS)
    one = answers_numbers.by_keys(answers_networks.from_one_step(stored), *answers_networks.SETTINGS, "student.init")

    def fit(kind: str, iterations: int) -> Cell:
        return fitted[kind, iterations, 5e-4, 1000]

    def told(found: Interval, sign: int = 1) -> str:
        return f"{sign * found.mean:.1f} ± {found.high - found.mean:.1f}"

    def less(a: Cell, b: Cell) -> Interval:
        return answers_numbers.contrast((), a, b).difference

    def lost(cell: Cell) -> Interval:
        return mean_interval(list(answers_dimension.lost_since(cell, answers_dimension.plain).values()))

    def begun(cell: Cell) -> dict[int, float]:
        return {seed: float(record.summary["begun"]["angle"]) for seed, record in seeds(cell)}

    near, middle, far = ((fit("unet", a[0]), fit("residual", b[0])) for a, b in answers_networks.CUT[:3])
    best = [one[kind, age, 5e-4, 1000, "teacher"] for kind, age, _ in answers_networks.BEST]
    gaps = [told(less(mlp, unet)) for unet, mlp in (middle, near, far)]
    assert "end {} degrees farther; at 15 none is told ({}); at 37".format(*gaps) in text
    assert f"(0.26 and 0.60), it is {gaps[2]}." in text
    ratios = [float(answers_dimension.begun(cell)[-6:-1]) for cell in (*middle, *far)]
    assert [f"{ratio:.2f}" for ratio in ratios] == ["0.77", "0.78", "0.26", "0.60"]
    by_seeds = [float(record.summary["begun"]["variance_ratio"]) for record in middle[0].records]
    apart = more(*map(begun, middle))
    span = f"{min(by_seeds):.2f} to {max(by_seeds):.2f}"
    assert f"alike in both ({apart} apart; 0.77 and 0.78, by seed {span} in U-Nets)" in text
    same = [less(fit("unet", n), best[0]) for n in (30, 40, 60)]
    assert [f"{-found.mean:.1f}" for found in (same[1], same[2])] == ["0.4", "0.5"]
    assert all(found.low < 0 < found.high for found in same)
    halves = [found.high - found.mean for found in same]
    assert f"(0.4 to 0.5 nearer, ± {min(halves):.1f} to {max(halves):.1f}, paired)" in text
    firsts = [[float(r.summary["begun"]["pair_cosine"]) for _, r in sorted(seeds(c))] for c in (far[0], best[0])]
    assert sum(abs(a - b) < 0.01 for a, b in zip(*firsts, strict=True)) == 5
    ends = [fit("residual", n).interval("remap_angle").mean for n in (60, 120, 1200, 3000, 4000)]
    ends.append(best[1].interval("remap_angle").mean)
    assert "at {:.0f}, {:.0f}, {:.0f}, {:.0f} and {:.0f} degrees for {:.0f} from the one step".format(*ends) in text
    gained = [told(lost(cell), -1) for cell in best]
    from_where = [f"{np.mean(list(begun(cell).values())):.0f}" for cell in best]
    assert f"{gained[0]} (U-Net, from {from_where[0]} degrees) and {gained[1]} (MLP, from {from_where[1]})" in text
    assert f"{told(less(best[1], best[0]))}, is as wide as that of the starts, {more(*map(begun, best))}." in text
    assert (
        f"{more(begun(best[0]), begun(far[1]))} from the U-Net's one step, an MLP's end {told(less(far[1], best[0]))}"
        in text
    )
    assert f"and only {told(less(best[1], far[1]))} nearer than from their own" in text
    assert f"gain {told(lost(middle[0]), -1)} and the MLP's lose {told(lost(middle[1]))}" in text
    alike = fit("unet", 60), fit("residual", 60)
    assert f"begin {more(*map(begun, alike))} degrees farther and end {told(less(*alike[::-1]))} farther" in text
    laws = [
        f"{cell.interval(key).mean:.2f}"
        for key in ("fidelity", "variance_ratio")
        for i in (1, 0)
        for cell in (middle[i], far[i])
    ]
    assert "(fidelity {} and {} for {} and {}, variance ratio {} and {} for {} and {})".format(*laws) in text
    assert all(answers_numbers.near(cell) for cell in (*near, *middle, *far))


KINDS = ("unet", "residual")


def seeds(cell: Cell) -> list[tuple[int, Record]]:
    return [(int(record.config["seed"]), record) for record in cell.records]


def by_seed(a: Cell, b: Cell) -> dict[int, float]:
    """The angle of a less that of b."""
    one, other = ({seed: answers_numbers.known_angle(r) or 90.0 for seed, r in seeds(cell)} for cell in (a, b))
    return {seed: one[seed] - other[seed] for seed in one}


def more(few: dict[int, float], many: dict[int, float]) -> str:
    found = answers_dimension.more_of(few, many)
    return f"{found.mean:.1f} ± {found.high - found.mean:.1f}"


def lowest(cell: Cell) -> Interval:
    """The lowest variance ratio at a checkpoint, over seeds."""
    return mean_interval([float(r.summary["begun"]["lowest_variance_ratio"]) for r in cell.records])
