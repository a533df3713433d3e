"""What the answers say of fits of several lengths, and of longer training from fits cut short, against kept runs."""

import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from dmdlab.pairing import Interval, mean_interval
from dmdlab.records.cells import Cell, cells
from dmdlab.records.record import Record

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))

import answers
import answers_dimension
import answers_networks
import answers_numbers

ROOT = Path(__file__).parents[1]
MLP, UNET = "residual", "unet"
RATE = 5e-4


def words(page: str) -> str:
    return re.sub(r"\s+", " ", (ROOT / "docs" / page).read_text(encoding="utf-8"))


def told(found: Interval, sign: int = 1) -> str:
    return f"{sign * found.mean:.1f} ± {found.high - found.mean:.1f}"


def less(a: Cell, b: Cell) -> Interval:
    return answers_numbers.contrast((), a, b).difference


def angle(cell: Cell) -> float:
    return cell.interval("remap_angle").mean


def test_what_is_said_of_the_length_of_a_fit() -> None:
    text, stored = words("answers.md"), answers.stored()
    long, cut = (cells(stored[name]) for name in (answers_networks.LENGTHS, answers_networks.BETWEEN))
    held = answers_numbers.by_keys([*long, *cut], *answers_networks.LENGTH_SETTINGS)
    pairs = [(held[a], held[b]) for a, b in answers_networks.OTHER_LENGTHS]
    ends = [less(a, b) for a, b in pairs]
    far = held[MLP, 60, 16384], held[MLP, 1200, 64], held[MLP, 4000, 60]
    ratios = [answers_dimension.begun(cell)[-6:-2] for cell in far]
    assert [f"{float(answers_dimension.begun(cell)[-6:-1]):.2f}" for cell in far] == ["0.60", "0.89", "0.81"], ratios
    assert "its students end at {:.1f}, {:.1f} and {:.1f} (apart".format(*map(angle, far)) in text
    assert [f"{end.mean:.1f}" for end in ends[:2]] == ["0.2", "0.1"]
    assert {f"{end.high - end.mean:.1f}" for end in ends[:2]} == {"0.9"}
    assert f"the long fits' end {told(ends[2], -1)} and {told(ends[3], -1)} nearer, from 14 the long one's" in text
    assert f"the long one's {told(ends[4])} farther" in text
    starts = answers_dimension.more_of(*(answers_networks.begun_by_seed(cell) for cell in pairs[5][::-1]))
    p = [float(c.holm) for c in answers_numbers.corrected([answers_numbers.contrast((), a, b) for a, b in pairs])]
    four = f"*four* pairs begins {told(starts)} farther and ends {told(ends[5])} farther (p = {p[5]:.1f} in this"
    assert four in text
    one = of_one_step(stored)
    nearer = answers_dimension.more_of(
        *(answers_networks.begun_by_seed(cell) for cell in (pairs[5][0], one[UNET, 1000]))
    )
    four = f"{told(less(pairs[5][0], one[UNET, 1000]))} farther, though it begins {told(nearer)} nearer"
    assert four in text
    assert [i for i, own in enumerate(p) if own < 0.05] == [4]
    farthest = -min(end.low for end in ends[:5]), max(end.high for end in ends[:5])
    assert "(p = {:.2f}); intervals reach {:.1f} nearer and {:.1f} farther".format(p[4], *farthest) in text
    assert all(abs(end.mean) < 2 for end in ends)
    assert sum(end.low > -2 and end.high < 2 for end in ends) == 2
    later = [told(less(held[MLP, 1200, a], held[MLP, 4000, b])) for a, b in ((64, 60), (152, 144))]
    assert "(4000 end {} and {} nearer)".format(*later) in text
    assert all(answers_numbers.near(cell) for pair in pairs for cell in pair)
    unets = [angle(held[UNET, n, 16384]) for n in (30, 40, 60)] + [angle(held[UNET, 800, 4])]
    assert f"end at {min(unets):.0f} to {max(unets):.0f} degrees from all four fits between 15" in words("findings.md")
    assert f"end {told(ends[2], -1)} and {told(ends[3], -1)} nearer than after 120" in words("findings.md")


def test_what_is_said_of_a_start_s_angle_and_of_equal_laws() -> None:
    text, stored = words("answers.md"), answers.stored()
    long, cut = (cells(stored[name]) for name in (answers_networks.LENGTHS, answers_networks.BETWEEN))
    held = answers_numbers.by_keys([*long, *cut], *answers_networks.LENGTH_SETTINGS)
    fits = answers_numbers.by_keys(answers_networks.from_fits(stored), *answers_networks.FIT_SETTINGS)
    starts = [fits[MLP, n, RATE, 1000] for n in (4000, 1200, 120, 60)] + [of_one_step(stored)[MLP, 1000]]
    begins = [sum(own := answers_dimension.begun_angles(cell)) / len(own) for cell in starts]
    slopes = [(angle(b) - angle(a)) / (begins[i + 1] - begins[i]) for i, (a, b) in enumerate(pairwise(starts))]
    assert [f"{slope:.1f}" for slope in slopes] == ["0.8", "0.7", "0.4", "0.2"]
    assert "end by 0.7 to 0.8, from 27 to 37 by 0.4, from there to the one step's 51 by 0.2" in text
    unet = held[UNET, 40, 16384]
    alike = [held[MLP, 1200, 152], held[MLP, 4000, 144]]
    assert "still end {} and {} farther than its".format(*(told(less(mlp, unet)) for mlp in alike)) in text
    places = (1200, 64), (4000, 60), (60, 16384), (1200, 152), (4000, 144), (120, 16384)
    fidelities = [held[MLP, *place].interval("fidelity").mean for place in places]
    said = "({:.2f} and {:.2f} for {:.2f} from 37, {:.2f} and {:.2f} for {:.2f} from 27)".format(*fidelities)
    assert f"by fidelity {said}. From 27, where it is the U-Net's ({unet.interval('fidelity').mean:.2f})" in text
    costs = [cell.interval("debiased_cost").mean for cell in (*alike, unet)]
    assert "(debiased_cost {:.3f} and {:.3f} for {:.3f}, not told apart)".format(*costs) in text
    apart = [answers_numbers.contrast((), cell, unet, ("debiased_cost", "debiased_cost")).difference for cell in alike]
    assert all(found.low < 0 for found in apart)


def test_what_is_said_of_longer_training_from_fits_cut_short() -> None:
    text, stored = words("answers.md"), answers.stored()
    held = answers_numbers.by_keys(answers_networks.from_fits(stored), *answers_networks.FIT_SETTINGS)
    early, late = (answers_networks.CUT[i : i + 3][::-1] for i in (0, 3))  # from 37, 27 and 15 degrees
    pairs = [[(held[UNET, *a], held[MLP, *b]) for a, b in part] for part in (early, late)]
    gaps = [told(less(mlp, unet)) for unet, mlp in pairs[1]]
    assert "does not close: {} from 37 degrees, {} from 27 and {} from 15".format(*gaps) in text
    by_seed = [[answers_by_seed(mlp, unet) for unet, mlp in part] for part in pairs]
    grown = [told(mean_interval([b[s] - a[s] for s in a])) for a, b in zip(*by_seed, strict=True)]
    assert "which is {}, {} and {} more than after 500".format(*grown) in text
    unets, mlps = ([f"{less(b[k], a[k]).mean:.1f}" for a, b in zip(*pairs, strict=True)] for k in (0, 1))
    assert "MLPs lose {}, {} and {} more than after 500 updates, U-Nets {}, {} and {}".format(*mlps, *unets) in text
    assert {round(angle(unet)) for unet, _ in pairs[1]} <= {31, 32}
    laws = [f"{pairs[1][i][1].interval(key).mean:.2f}" for key in ("fidelity", "variance_ratio") for i in (0, 1)]
    assert "(fidelity {} and {} from 37 and 27 degrees, variance ratio 0.88 both)".format(*laws[:2]) in text
    assert laws[2:] == ["0.88", "0.88"]
    assert all(answers_numbers.near(cell) for pair in pairs[1] for cell in pair)
    short = told(less(*pairs[0][1][::-1])), told(less(*pairs[0][2][::-1]))
    one = of_one_step(stored)
    ends = [one[MLP, 4000], pairs[1][0][1], pairs[1][1][1], pairs[1][2][1], held[MLP, 4000, RATE, 4000]]
    far = "at {:.1f}, {:.1f} and {:.1f}, from the one step {} *nearer* than from 37; from 15 and 4 at {:.1f} and {:.1f}"
    assert far.format(*map(angle, ends[:3]), told(less(ends[1], ends[0])), *map(angle, ends[3:])) in text
    assert f"an MLP's at {min(map(angle, ends[:3])):.0f} to {max(map(angle, ends[:3])):.0f} from 27 on (2000)" in words(
        "findings.md"
    )
    nearest = [told(less(pairs[i][2][0], held[UNET, 3000, RATE, length])) for i, length in enumerate((1000, 4000))]
    assert "(from 4 it ends {} and {} nearer than from 15)".format(*nearest) in text
    nearer = [
        answers_numbers.contrast((), late[k], early[k], ("fidelity", "fidelity")).difference
        for early, late in zip(*pairs, strict=True)
        for k in (1, 0)
    ]
    assert [found.low > 0 for found in nearer] == [True, *[False] * 5]
    assert (
        f"the MLP's fidelity from 37 degrees (by {nearer[0].mean:.2f} ± {nearer[0].high - nearer[0].mean:.2f})" in text
    )
    assert f"end {short[0]} farther, after 2000 updates {gaps[1]} (from 15 degrees {short[1]} and {gaps[2]})" in words(
        "findings.md"
    )


def of_one_step(stored: Mapping[str, Sequence[Record]]) -> dict[tuple[object, ...], Cell]:
    """The students of the best teachers' one step, by network and length."""
    found = answers_networks.from_one_step(stored)
    held = answers_numbers.by_keys(found, *answers_networks.SETTINGS, "student.init")
    return {
        (kind, n): held[kind, age, RATE, n, "teacher"] for kind, age, _ in answers_networks.BEST for n in (1000, 4000)
    }


def answers_by_seed(a: Cell, b: Cell) -> dict[int, float]:
    """The angle of a less that of b."""
    own = [{int(r.config["seed"]): float(r.row["remap_angle"]) for r in cell.records} for cell in (a, b)]
    return {seed: own[0][seed] - own[1][seed] for seed in own[0]}
