"""The linear network and the exact score of its students: linear, free, Gaussian, and nothing left to learn."""

import math
from pathlib import Path

import pytest
import torch
from small import CPU, TINY, do, group_of
from torch import Tensor

from dmdlab.config import Experiment, InputError, NetworkSpec, experiment_from
from dmdlab.diffusion.noise import edm_coefficients
from dmdlab.experiments import load, resolve
from dmdlab.lab.plan import plan
from dmdlab.laws import Gaussian, make_law
from dmdlab.networks import EDMDenoiser, make_denoiser
from dmdlab.plots import draw
from dmdlab.theory import wishart_moments
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.exact_score import LinearStudentScore
from dmdlab.training.optimiser import gradient
from dmdlab.training.student import Student

FEATURES, SIGMA_MAX = 4, 20.0
SPEC = NetworkSpec(kind="linear", time_features=FEATURES)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def denoiser(members: int = 2, classes: int = 0) -> EDMDenoiser:
    """Linear networks in three dimensions, all parameters random, those of biases, too."""
    made = make_denoiser(members, Gaussian(dim=3), SPEC, classes=classes)
    made.network.initialise([generator(s) for s in range(members)])
    return made


def at_level(made: EDMDenoiser, sigma: float) -> tuple[Tensor, Tensor]:
    """The matrix (e, d, d) that maps rows and the vector (e, 1, d) of an affine denoiser at a level."""
    points = torch.cat([torch.zeros(1, 3), torch.eye(3)]).expand(made.network.members, 4, 3)
    b, rows = made(points, sigma).split([1, 3], dim=1)
    return rows - b, b


@pytest.mark.parametrize("sigma", [0.002, 1.0, SIGMA_MAX])
def test_it_is_affine_at_every_level_and_another_map_at_each(sigma: float) -> None:
    made, x = denoiser(), torch.randn(2, 7, 3, generator=generator(5))
    matrix, b = at_level(made, sigma)
    torch.testing.assert_close(made(x, sigma), x @ matrix + b, rtol=1e-4, atol=1e-5)
    each = torch.full((2, 7, 1), sigma)
    torch.testing.assert_close(made(x, each), made(x, sigma))
    assert not torch.allclose(matrix, at_level(made, 0.5)[0], atol=1e-2)


def test_a_step_on_its_parameters_is_one_on_the_students_matrix_at_the_rate_that_is_documented() -> None:
    made, eta = denoiser(), 0.01
    before, target = at_level(made, SIGMA_MAX)[0], torch.randn(2, 3, 3, generator=generator(6))
    with made.network.holding(made.network.flat, trained=True) as leaves:
        g = gradient((at_level(made, SIGMA_MAX)[0] * target).sum(dim=(1, 2)), leaves)  # d loss / d W = target
    made.network.load_rows(made.network.flat - eta * g[:, : made.network.flat.shape[1]])
    c = edm_coefficients(torch.tensor(SIGMA_MAX, dtype=torch.float64), made.sigma_data)
    rate = eta * float(c.c_out * c.c_in) ** 2 * (1 + FEATURES / 2)
    after = at_level(made, SIGMA_MAX)[0]
    torch.testing.assert_close((after - before) / rate, -target, rtol=1e-2, atol=1e-2)  # any direction: W is free


@pytest.mark.parametrize("classes", [0, 2])
def test_the_exact_score_is_that_of_the_students_gaussian_law(classes: int) -> None:
    student = Student(denoiser(classes=classes), [SIGMA_MAX])
    g = generator(7)
    x, sigma = torch.randn(2, 9, 3, generator=g), torch.rand(2, 9, 1, generator=g) + 0.05
    label = torch.randint(2, (2, 9), generator=g) if classes else None
    found = LinearStudentScore(student)(x, sigma, label)
    matrix, _ = at_level(student.denoiser, SIGMA_MAX)
    w = SIGMA_MAX * matrix.double().mT  # W: columns
    b = student(torch.zeros_like(x), label=label).double()
    for i in range(2):
        s = w[i] @ w[i].T
        for j in range(9):
            noised = s + sigma[i, j].double() ** 2 * torch.eye(3, dtype=torch.float64)
            expected = b[i, j] + s @ torch.linalg.solve(noised, x[i, j].double() - b[i, j])
            torch.testing.assert_close(found[i, j].double(), expected, rtol=1e-3, atol=1e-4)


def test_an_estimated_score_is_that_of_its_samples_and_its_error_is_wisharts() -> None:
    """The mean square of the error's entries is Eq. 9 of docs/theory.md, and the error is symmetric."""
    student, d, m, sigma = Student(denoiser(), [SIGMA_MAX]), 3, 200, 0.7
    score = LinearStudentScore(student)
    axes = torch.eye(d).expand(2, d, d)
    b, values, u, _ = score.law_of(axes.float())
    w = (u * values.sqrt()) @ u.mT  # a root of each member's covariance
    c = values[:, 0] / (values[:, 0] + sigma**2)
    errors = []
    for i in range(400):
        z = torch.randn(2, m, d, generator=generator(i), dtype=torch.float64)
        found = (
            score((b + u.mT).float(), sigma, samples=b[:, :1] + z @ w).double() - b
        )  # rows: each law's axes, through K
        errors.append(found @ u - torch.diag_embed(c))
    error = torch.stack(errors)
    torch.testing.assert_close(error, error.mT, rtol=0, atol=1e-5)
    for i in range(2):
        expected = wishart_moments(values[i, 0], sigma, m)
        torch.testing.assert_close(error[:, i].square().mean(0), expected, rtol=0.25, atol=1e-3 * float(expected.max()))


def test_an_estimated_covariance_is_the_mean_square_about_the_students_own_mean() -> None:
    """Which is known: neither the samples' mean nor one of their number is lost to it."""
    score, x = LinearStudentScore(Student(denoiser(), [SIGMA_MAX])), torch.randn(2, 4, 3, generator=generator(3))
    b, *_ = score.law_of(x)
    y = 2 + torch.randn(2, 3, 3, generator=generator(4), dtype=torch.float64)
    _, values, u, _ = score.law_of(x, samples=b[:, :1] + y)
    torch.testing.assert_close((u * values) @ u.mT, torch.einsum("emi,emj->eij", y, y) / 3)


def test_a_broken_student_has_no_score_and_leaves_the_others_theirs() -> None:
    made, x = denoiser(), torch.randn(2, 5, 3, generator=generator(8))
    score = LinearStudentScore(Student(made, [SIGMA_MAX]))
    healthy = score(x, 1.0)
    made.network.flat[0] = math.nan
    found = score(x, 1.0)
    assert found[0].isnan().all()
    assert torch.equal(found[1], healthy[1])


# --- in training

EXACT = {
    "law.name": "gaussian",
    "law.dim": 3,
    "law.spectrum": "power",
    "noise.sigma_max": SIGMA_MAX,
    "network.kind": "linear",
    "network.time_features": FEATURES,
    "student.batch": 32,
    "student.optimiser": "sgd",
    "student.learning_rate": 0.1,
    "student.weight_decay": 0.0,
    "student.iterations": 50,
    "fake_score.kind": "exact",
}


def loop(way: str | None = None, **other: object) -> tuple[Distillation, Experiment]:
    """Students of random networks."""
    own = [experiment_from({**EXACT, **other, "seed": seed}) for seed in (0, 1)]
    law = make_law(own[0].law.model_dump())
    made = make_denoiser(2, law, own[0].network)
    made.network.initialise([generator(s) for s in range(2)])
    return distillation_from(group_of(*own), law, made.network.flat, way=way), own[0]  # type: ignore[arg-type]


def test_an_exact_score_is_never_trained_and_its_steps_count() -> None:
    trained, _ = loop()
    fake, student = (part.network.flat.clone() for part in (trained.fake, trained.student))
    for at in trained.run([]):
        report = trained.report()
        assert report.iteration == at == 50
    assert torch.equal(trained.fake.network.flat, fake)
    assert not torch.isclose(trained.student.network.flat, student).all(dim=1).any()
    assert trained.trained["fake"].counts.tolist() == [50, 50]
    assert trained.failed_at.tolist() == [-1, -1]
    assert report.numbers["score_loss"].isnan().all()
    assert report.numbers["gap"].isfinite().all()


def test_at_the_matching_law_the_direction_vanishes_for_every_sample() -> None:
    """With exact scores nothing is left of the gradient there, its noise included."""
    (matched, e), (other, _) = loop(), loop()
    law = make_law(e.law.model_dump())
    assert isinstance(law, Gaussian)
    c = edm_coefficients(torch.tensor(SIGMA_MAX, dtype=torch.float64), law.sigma_data)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator(9), dtype=torch.float64))[0]
    w = law.covariance().double().sqrt() @ turn / SIGMA_MAX  # sigma_max^2 W W^T = C, whatever the turn
    network = matched.student.network
    network.load_rows(torch.zeros_like(network.flat))
    weight = dict(network.named_parameters())["matrices.weight"]
    with torch.no_grad():  # the constant feature's matrix, which maps rows
        weight[:, :3] = ((w - c.c_skip * torch.eye(3)) / (c.c_out * c.c_in)).T.float()
    matched.trained["student"].parameters[:, : network.flat.shape[1]] = network.flat
    for each in (matched, other):
        each.cycle()
    found, usual = (each.report().numbers for each in (matched, other))
    for name in ("gap", "student_gradient_norm"):
        assert (found[name] < 1e-3 * usual[name]).all()


def test_an_estimated_score_comes_nearer_to_the_exact_one_with_its_samples() -> None:
    off = []
    for updates in (1, 64):
        settings = {"fake_score.batches": "separate", "fake_score.updates": updates, "student.warmup": 0}
        after = []
        for kind in ("exact", "estimated"):
            trained, _ = loop(**settings, **{"fake_score.kind": kind})
            trained.cycle()
            after.append(trained.student.network.flat.clone())
        off.append((after[0] - after[1]).norm(dim=1))
    assert (off[0] > 0).all()
    assert (off[1] < off[0] / 3).all()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, r"set fake_score.batches = 'separate'"),
        (
            {"fake_score.batches": "separate", "network.kind": "residual", "network.time_features": 8},
            "this network is not linear",
        ),
        ({"fake_score.batches": "separate", "terms.sid.weight": 1.0}, r"terms\.sid reads the fake score, too"),
    ],
)
def test_an_estimated_score_of_what_it_cannot_be_is_refused(other: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        resolve(experiment_from({**EXACT, **other, "fake_score.kind": "estimated"}))


@pytest.mark.parametrize("kind", ["network", "exact"])
def test_linear_runs_come_to_a_record(kind: str, tmp_path: Path) -> None:
    small = [word for word in TINY if not word.startswith("network.")]
    words = ("network.kind=linear", "law.name=gaussian", "law.dim=2", f"fake_score.kind={kind}")
    (record,) = do(load(None, "smoke", [*small, *words]).experiments(), tmp_path)
    assert record.done
    assert record.row["student_weight_movement"] > 0
    assert record.row["student_kernel_change"] < 1e-6  # the derivatives by its parameters do not depend on them
    draw("curve", [record])


# --- bad input


def test_an_exact_score_of_another_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"this network is not linear; set network.kind = 'linear'"):
        loop(**{"network.kind": "residual"})


def test_nothing_is_said_to_be_compiled_beside_an_exact_score() -> None:
    long = experiment_from(EXACT | {"student.iterations": 100_000})
    assert not any("compiled" in said for said in plan([long], CPU).decisions)


def test_an_exact_score_cannot_be_compiled() -> None:
    for refused in (lambda: plan([experiment_from(EXACT)], CPU, way="compiled"), lambda: loop("compiled")):
        with pytest.raises(InputError, match=r"fake_score.kind = 'exact' takes an eigendecomposition .* --compile"):
            refused()
    assert loop("graph")[0].way == "eager"
