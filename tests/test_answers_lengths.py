"""What the answers say of fits of several lengths, and of longer training from fits cut short, against kept runs."""

import re
import sys
from pathlib import Path

from dmdlab.pairing import Interval, mean_interval
from dmdlab.records.cells import Cell, cells

sys.path.insert(0, str(Path(__file__).parents[1] / "figures"))

import answers
import answers_dimension
import answers_networks
import answers_numbers

ROOT = Path(__file__).parents[1]
MLP, UNET = "residual", "unet"


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
    starts = answers_dimension.more_of(*(answers_networks._begun_by_seed(cell) for cell in pairs[5][::-1]))
    assert f"*four* pairs they begin {told(starts)} farther and end {told(ends[5])} farther" in text
    p = [float(c.holm) for c in answers_numbers.corrected([answers_numbers.contrast((), a, b) for a, b in pairs])]
    assert [i for i, own in enumerate(p) if own < 0.05] == [4]
    assert f"(p = {p[4]:.2f})" in text
    assert all(abs(end.mean) < 2 for end in ends)
    assert all(answers_numbers.near(cell) for pair in pairs for cell in pair)
    unets = [angle(held[UNET, n, 16384]) for n in (30, 40, 60)] + [angle(held[UNET, 800, 4])]
    assert f"end at {min(unets):.0f} to {max(unets):.0f} degrees from whatever start" in words("findings.md")


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
    assert f"end {short[0]} farther, after 2000 updates {gaps[1]} (from 15 degrees {short[1]} and {gaps[2]})" in words(
        "findings.md"
    )


def answers_by_seed(a: Cell, b: Cell) -> dict[int, float]:
    """The angle of a less that of b."""
    own = [{int(r.config["seed"]): float(r.row["remap_angle"]) for r in cell.records} for cell in (a, b)]
    return {seed: own[0][seed] - own[1][seed] for seed in own[0]}
