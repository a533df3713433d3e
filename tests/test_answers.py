"""The page of first answers comes out of the kept summaries, and its numbers do what they say."""

import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from answer_runs import run

from dmdlab.config import NoiseConfig
from dmdlab.diffusion import levels_in
from dmdlab.laws import make_law
from dmdlab.networks import EDMDenoiser
from dmdlab.networks.linear import LinearNetwork, LinearSettings
from dmdlab.networks.mlp import Fourier
from dmdlab.records.cells import cells
from dmdlab.records.record import Record
from dmdlab.training.teacher import denoising_loss

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import answers  # noqa: E402
import answers_kept  # noqa: E402
import answers_numbers  # noqa: E402
import answers_score  # noqa: E402
import tables  # noqa: E402


def test_the_pages_come_out_of_the_kept_summaries_to_the_byte() -> None:
    found = answers.stored()
    assert found
    text = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    assert answers.page(found, text) == text
    assert answers.cells_page(found) == (ROOT / "docs" / "answers-cells.md").read_text(encoding="utf-8")


def test_the_verdict_on_adam_tells_the_ranges_of_the_table() -> None:
    text = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    verdict = next(line for line in text.splitlines() if line.startswith("| P3 | From"))
    rows = re.findall(r"^\| (?:linear-adam|schedule) \| regressed \| (\d+) \|.*\(([\d.]+) to ([\d.]+)\)", text, re.M)
    assert {d for d, *_ in rows} == {"2", "8", "32"}
    for d in ("2", "8", "32"):
        ends = [float(end) for own, *both in rows if own == d for end in both]
        told = re.search(rf"(\d+) to (\d+)[^,]*? at d = {d}\b", verdict)
        assert told is not None
        assert [int(end) for end in told.groups()] == [round(min(ends)), round(max(ends))]


def test_the_verdicts_on_gradient_descent_tell_what_the_kept_runs_say() -> None:
    """P1: Lambda over eta / b; P2: what three times the fake-score rate and four times the length do."""
    lines = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8").splitlines()
    p1, p2 = (next(line for line in lines if line.startswith(head)) for head in ("| P1 | With", "| P2 | From"))
    names = ("student.learning_rate", "student.batch", "student.iterations", "fake_score.learning_rate", "law.dim")

    def losses(name: str, init: str) -> dict[tuple[Any, ...], float]:
        found = [cell for cell in cells(answers.stored()[name]) if cell.init == init]
        return {tuple(map(cell.value, names)): answers_numbers.share_lost(cell).mean for cell in found}

    exact = {(eta / b, d): lost for (eta, b, t, _, d), lost in losses("linear-exact", "teacher").items() if t == 12000}
    per = {d: [lost / x for (x, own), lost in sorted(exact.items()) if own == d] for d in (8, 32)}
    assert max(abs(value / per[8][0] - 1) for value in per[8]) == pytest.approx(0.13, abs=0.005)
    assert (
        ", ".join(f"{value / per[32][0]:.2f}" for value in per[32][1:3]) + f" and {per[32][3] / per[32][0]:.2f}" in p1
    )
    own = losses("linear-trained", "regressed")
    at = [(eta, t) for t in (12500, 50000) for eta in (0.01, 0.04)]
    more = {d: [100 * own[eta, 64, t, 0.06, d] / own[eta, 64, t, 0.02, d] - 100 for eta, t in at] for d in (2, 8)}
    assert f"{min(more[8]):.0f} to {max(more[8]):.0f} % more at d = 8" in p2
    assert "{:.0f}, {:.0f}, {:.0f} and {:.0f} % at d = 2".format(*more[2]) in p2
    of = [(eta, fake) for eta in (0.01, 0.04) for fake in (0.02, 0.06)]
    power = {d: [math.log(own[e, 64, 50000, f, d] / own[e, 64, 12500, f, d], 4) for e, f in of] for d in (2, 8)}
    assert f"{min(power[8]):.2f} to {max(power[8]):.2f} at d = 8" in p2
    assert "{:.2f}, {:.2f}, {:.2f} and {:.2f} at d = 2".format(*power[2]) in p2


def test_the_condition_of_p2_is_what_the_verdict_says_it_is() -> None:
    """The batch's share is below 10 % in every contrast of fake-score rates, and their effects are as told."""
    lines = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8").splitlines()
    p2 = next(line for line in lines if line.startswith("| P2 | From"))
    found = answers_score.rate_contrasts(cells(answers.stored()["linear-trained"]))
    shares = [100 * share.batch for c in found if c.shares for share in c.shares]
    assert (len(found), len(shares)) == (16, 32)
    assert f"batch's share is {min(shares):.1f} to {max(shares):.1f} %" in p2
    assert [c.said for c in found] == pytest.approx([1.02] * 16, abs=0.005)
    largest = max((c for c in found if c.slow.init == "regressed"), key=lambda c: c.times.mean)
    assert f"{100 * largest.times.low - 100:.0f} to {100 * largest.times.high - 100:.0f} %" in p2
    more = {
        d: [f"{100 * c.times.mean - 100:.0f}" for c in found if (c.slow.init, c.slow.dim) == ("teacher", d)]
        for d in (2, 8)
    }
    assert "{}, {}, {} and {} % more at d = 2".format(*more[2]) in p2
    assert f"{-max(map(int, more[8]))} to {-min(map(int, more[8]))} % less at d = 8" in p2


def test_what_is_said_of_small_differences_is_what_the_kept_runs_say() -> None:
    """P5: the angle still falls at small rates; P8: cosine and constant rates; P3: a batch that should not matter."""
    text = (ROOT / "docs" / "answers.md").read_text(encoding="utf-8")
    wanted = ("conserved", "schedule", "linear-adam")
    found = {name: cells(answers_kept.read(answers.HERE / f"answers-{name}.json")) for name in wanted}
    at = {(c.init, c.value("student.learning_rate")): c for c in found["conserved"]}
    falls = [answers_numbers.contrast((), at[i, 3e-4], at[i, 1e-4]).difference for i in ("teacher", "regressed")]
    assert "by {:.1f} ± {:.1f} and {:.1f} ± {:.1f} degrees (paired)".format(
        *(x for f in falls for x in (f.mean, f.high - f.mean))
    ) in text.replace("\n", " ")
    of = {(c.value("student.iterations"), c.value("student.decay")): c for c in found["schedule"]}
    cosine, full, short = of[40000, "cosine"], of[40000, "constant"], of[15000, "constant"]
    less, more = answers_score.times_lost(cosine, full), answers_score.times_lost(cosine, short)
    assert f"a factor of {less.mean:.2f}, {less.low:.2f} to {less.high:.2f} over paired seeds" in text
    assert f"loses {more.mean:.2f} times that, {more.low:.2f} to {more.high:.2f}" in text
    names = ("student.init", "student.learning_rate", "student.iterations", "student.batch", "law.dim")
    adam = {tuple(map(c.value, names)): c for c in found["linear-adam"]}
    batches = {
        (rate, d): answers_score.times_lost(
            adam["regressed", rate, 10000, 256, d], adam["regressed", rate, 10000, 64, d]
        )
        for rate in (3e-4, 1e-3)
        for d in (2, 8, 32)
    }
    small, large = ([batches[rate, d].mean for d in (2, 8, 32)] for rate in (3e-4, 1e-3))
    assert "{:.2f}, {:.2f} and {:.2f} times as much at 3e-4".format(*small) in text
    assert "{:.2f}, {:.2f} and {:.2f} times at 1e-3".format(*large) in text
    assert [key for key, own in batches.items() if not own.low < 1 < own.high] == [(3e-4, 32)]
    longer = {
        (rate, d): answers_score.times_lost(
            adam["regressed", rate, 40000, 64, d], adam["regressed", rate, 10000, 64, d]
        )
        for rate in (3e-4, 1e-3)
        for d in (2, 8, 32)
    }
    for rate in (3e-4, 1e-3):
        means = [longer[rate, d].mean for d in (2, 8, 32)]
        assert f"{min(means):.1f} to {max(means):.1f} times" in text
    eight, many, two = (longer[3e-4, d] for d in (8, 32, 2))
    assert f"{eight.low:.1f} to {eight.high:.1f} times at d = 8, {many.low:.1f} to {many.high:.1f} at d = 32" in text
    assert f"{two.low:.1f} to {two.high:.0f} at d = 2 tells nothing" in text
    assert [d for d in (2, 8, 32) if not longer[1e-3, d].low < 4 < longer[1e-3, d].high] == [8]
    own = longer[1e-3, 8]
    assert f"only that at d = 8, {own.low:.1f} to {own.high:.1f}, leaves out 4" in text


def test_what_is_said_of_the_walk_of_shared_matrices_is_what_the_kept_runs_say() -> None:
    """Measured over the walk, and not the other way round; and the walk's power of T."""
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    found = [c for c in cells(answers.stored()["linear-trained"]) if c.init == "regressed"]
    of = {d: [answers_score.ratio_to_shared(c) for c in found if c.dim == d] for d in (2, 8)}
    assert f"All eight cells at d = 8 have {min(of[8]):.2f} to {max(of[8]):.2f} times the Lambda of that walk" in text
    assert f"they have {min(of[2]):.2f} to {max(of[2]):.2f} times it" in text
    names = ("fake_score.learning_rate", "student.learning_rate", "student.iterations", "law.dim")
    walk = {
        place: answers_score.shared_walk(c.records[0]) for place, c in answers_numbers.by_keys(found, *names).items()
    }
    powers = [math.log(walk[f, 0.01, 50000, 8] / walk[f, 0.01, 12500, 8], 4) for f in (0.02, 0.06)]
    assert f"; {min(powers):.2f} to {max(powers):.2f})." in text


def score_run(**own: Any) -> Record:
    settings = {"network__kind": "linear", "network__time_features": 2, "network__bias": False, "law__name": "gaussian"}
    settings |= {"student__optimiser": "sgd", "fake_score__optimiser": "sgd", "fake_score__updates": 1}
    settings |= {"student__batch": 16, "student__init": "regressed", "fake_score__learning_rate": 0.02, "law__dim": 3}
    return run(10.0, **settings | own)


def test_a_rate_of_the_fake_score_is_that_of_its_matrix() -> None:
    """A step of the lab's loss and network, against rate (K x_sigma - x) x_sigma^T."""
    d, sigma, rate = 3, 0.7, 0.02
    g = torch.Generator().manual_seed(0)
    network = LinearNetwork(1, make_law({"name": "gaussian", "dim": d}), LinearSettings(time_features=2, bias=False))
    network.flat.data.normal_(generator=g)
    denoiser, x = EDMDenoiser(network, 1.0), torch.randn(1, 5, d, generator=g)
    x_sigma = x + sigma * torch.randn(1, 5, d, generator=g)

    def matrix() -> torch.Tensor:
        return denoiser(torch.eye(d)[None], sigma)[0].T.detach()

    before = matrix()
    denoising_loss(denoiser, x_sigma, x, torch.full((1, 5, 1), sigma), 1 / sigma**2 + 1).sum().backward()
    for p in network.parameters():
        p.data -= rate * p.grad
    expected = answers_score.score_rate(score_run(), sigma) * (x_sigma[0] @ before.T - x[0]).T @ x_sigma[0] / 5
    assert torch.allclose(before - matrix(), expected, atol=1e-6)


def test_a_batchs_share_is_what_theory_md_says_of_equal_variances_to_first_order() -> None:
    """z and eps of Eq. (10) for one E[E_ij^2] = a var r / (2 b), over b, against Eq. (11), by hand at d = 3."""
    record = score_run(fake_score__learning_rate=1e-4)
    share = answers_score.batch_share(record)
    u = (torch.arange(50).double() + 0.5) / 50
    squares = levels_in(u, (0.02, 0.98), NoiseConfig()) ** 2
    kappa = 4e-4 / 3 * squares / (1 + squares) ** 2 / (2 * 16)
    expected = ((4 + 3 * squares) / 2 * kappa).mean() / (squares / (1 + squares) ** 2 / 2).mean()
    assert share is not None
    assert share.batch == pytest.approx(float(expected), rel=1e-3)
    assert 0 < share.larger < 1e-3
    for own in ({"student__optimiser": "adamw"}, {"fake_score__kind": "exact"}, {"network__kind": "mlp"}):
        assert answers_score.batch_share(score_run(**own)) is None


def test_a_walk_of_shared_matrices_is_the_recursion_of_its_moments_and_goes_to_its_projection() -> None:
    """Against E[A A^T] and sums stepped one update at a time; and Eq. (11) projected, where T is long."""
    record = score_run(student__iterations=40)
    u = (torch.arange(4000).double() + 0.5) / 4000
    own, its = (levels_in(u, bounds, NoiseConfig()) for bounds in ((0.02, 0.98), (0.0, 1.0)))
    f, h = (answers_score.level_features(levels, 2) for levels in (its, own))
    c, g = f.T @ f / 4000, (own / (1 + own**2)) @ h / 4000
    a, eta, b = 2 * 0.02 / 3, 2 * record.config["student.learning_rate"], 16
    forgets, both = torch.eye(3).double() - a * c, torch.zeros(4, 4).double()  # errors of an entry, and their sum
    step = torch.zeros(4, 4).double()
    step[:3, :3], step[3, :3], step[3, 3] = forgets, g, 1
    for _ in range(40):
        both = step @ both @ step.T
        both[:3, :3] += a**2 * c / b
    assert answers_score.shared_walk(record) == pytest.approx(2 / 4 * eta**2 * float(both[3, 3]), rel=1e-9)
    long = score_run(student__iterations=3_000_000)
    projected = 2 / 4 * eta**2 * 3_000_000 / b * float(g @ torch.linalg.solve(c, g))
    assert answers_score.shared_walk(long) == pytest.approx(projected, rel=0.02)
    with pytest.raises(ValueError, match="one update"):
        answers_score.shared_walk(score_run(fake_score__updates=2))


def test_kept_summaries_are_read_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "answers-own.json"
    records = [run(10.0), run(None, 1, student__batch=3)]
    for record in records:
        record.summary["begun"] = {"variance_ratio": 0.5}
    path.write_text(answers_kept.kept(records), encoding="utf-8")
    back = answers_kept.read(path)
    assert [r.summary["begun"] for r in back] == [{"variance_ratio": 0.5}] * 2
    assert [r.row["remap_angle"] for r in back] == [10.0, None]
    assert [r.config["student.batch"] for r in back] == [256, 3]
    assert answers_kept.kept(back) == path.read_text(encoding="utf-8")


def test_experiments_that_are_not_there_are_named_and_the_rest_is_written() -> None:
    assert answers.page({}, "text") == "text"
    own = answers.cells_page({"starts": [run(10.0), run(12.0, 1)]})
    assert own.count("Not run yet.") == len(answers.EXPERIMENTS) - 1
    assert "| mixture | 2 | teacher | 2 | 1 ± 0 |" in own


def test_powers_that_were_put_in_are_found() -> None:
    grid = [(eta, t, b) for eta in (1e-4, 1e-3) for t in (4000, 16000) for b in (64, 256)]
    records = [
        run(
            answers_numbers.angle_of(constant * (1 + 0.01 * seed) * eta**1.5 * (t / 5) ** 0.5 * b**-0.25),
            seed,
            law__dim=d,
            student__learning_rate=eta,
            student__iterations=t,
            student__batch=b,
        )
        for d, constant in ((2, 10.0), (8, 30.0))
        for eta, t, b in grid
        for seed in range(3)
    ]
    found = answers_numbers.powers_of(cells(records))
    assert [p.mean for p in found.powers] == pytest.approx([1.5, 0.5, -0.25], abs=1e-9)
    assert found.constants[8].mean - found.constants[2].mean == pytest.approx(math.log(3))
    assert (found.scatter, found.scatter_common) == pytest.approx((0, math.log(3) / 2), abs=1e-6)
    above = answers_numbers.powers_of(cells(records), floor=True)
    assert [p.mean for p in above.powers] == pytest.approx([1.5, 0.5, -0.25], abs=0.02)
    assert above.floors[2].mean < 0.02 * answers_numbers.lost(records[0].row["remap_angle"])
    assert found.of_planes.mean == pytest.approx(math.log(3) / math.log(7))
    assert (found.cells, found.left_out) == (16, 0)
    spoilt = [run(90.0, 0, **places(records[0])), *records[1:]]
    left = answers_numbers.powers_of(cells(spoilt))
    assert [p.mean for p in left.powers] == pytest.approx([1.5, 0.5, -0.25], abs=1e-9)  # no one-sided choice of seeds
    assert (left.cells, left.left_out) == (15, 1)
    few = [r for r in records if r.config["seed"] or r.config["law.dim"] == 8]  # seed 0 knows one dimension
    assert [p.n for p in answers_numbers.powers_of(cells(few)).powers] == [2, 2, 2]


def places(record: Record) -> dict[str, Any]:
    """The settings that `run` is to be given for another run of this record's cell."""
    keys = ("law.dim", "student.learning_rate", "student.iterations", "student.batch")
    return {key.replace(".", "__"): record.config[key] for key in keys}


def test_the_share_lost_is_the_logarithm_of_the_mean() -> None:
    """By hand for cosines 0.5 and 1, and of more: 0.5, 1 against 1, 1."""
    short, long = (cells([run(60.0 * part), run(0.0, 1)])[0] for part in (0, 1))
    assert answers_numbers.share_lost(long).mean == pytest.approx(-math.log(0.75))
    assert answers_numbers.more_lost(long, short).mean == pytest.approx(-math.log(0.75))
    gone = cells([run(130.0), run(60.0, 1)])[0]
    assert math.isnan(answers_numbers.share_lost(gone).mean)


def test_what_a_longer_training_lost_is_set_beside_the_theory() -> None:
    """A walk of Eq. (13) put in by hand."""
    shared = {"network__kind": "linear", "network__time_features": 2, "fake_score__updates": 1}
    records = [run(5.0, s, law__dim=8, student__learning_rate=1e-3, student__iterations=1, **shared) for s in (0, 1)]
    said = answers_numbers.predicted(records[0])
    records = [
        run(
            answers_numbers.angle_of(t * said),
            s,
            law__dim=8,
            student__learning_rate=1e-3,
            student__iterations=t,
            student__batch=64,
            **shared,
        )
        for t in (1000, 4000)
        for s in (0, 1)
    ]
    (line,) = answers.growth_lines({"linear-adam": cells(records)})[2:]
    assert line.startswith("| linear-adam | 8 | teacher | 0.001 | 0.001 | 1 | 64 | 1000 to 4000 |")
    more, expected = (word.strip().split(" ")[0] for word in line.split("|")[-3:-1])
    assert float(more) == pytest.approx(float(expected), rel=0.01)
    assert answers_numbers.ratios(cells(records)) == pytest.approx([1, 1])


def test_the_angle_and_what_was_lost_are_inverse() -> None:
    angles = np.array([1.0, 30.0, 89.0])
    assert [answers_numbers.angle_of(answers_numbers.lost(a)) for a in angles] == pytest.approx(angles)
    assert math.isnan(answers_numbers.lost(90.0))
    assert math.isnan(answers_numbers.lost(None))


def test_lines_go_between_the_markers_of_a_page() -> None:
    text = "a\n<!-- t -->\nold\n<!-- end of t -->\nb"
    assert tables.replaced(text, "t", ["new"]) == "a\n<!-- t -->\nnew\n<!-- end of t -->\nb"
    assert tables.table(["a", "b"], [["1", "2"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |"]


def test_the_map_moves_faster_than_the_parameters_that_make_it() -> None:
    features, c_noise = LinearSettings().time_features, 1.1
    f = torch.cat([torch.ones(1), Fourier(features)(torch.tensor(c_noise).reshape(1, 1, 1)).flatten()])
    expected = float(f.square().sum()), float(f.abs().sum())
    assert answers_numbers.paces(features, c_noise) == pytest.approx(expected, rel=1e-5)
