"""Local measures: their closed forms by Jacobians and by differences, their intervals, and what stays unresolved."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from dmdlab.config import InputError, NoiseConfig
from dmdlab.diffusion import karras_grid, path
from dmdlab.diffusion.jacobian import Map
from dmdlab.diffusion.local import answers, local_agreement
from dmdlab.laws import Mixture
from dmdlab.pairing import calibrate, local_from_differences, local_measures, measure, planted_local, planted_rotation
from dmdlab.pairing.local import differences, random_directions
from dmdlab.randomness import generator, latents


def read(student: Map, teacher: Map, z: Tensor, probes: int = 4) -> tuple[float, float]:
    """Both measures, for one member."""
    v = torch.randn(probes, *z.shape, generator=generator(0, "probes"), dtype=z.dtype)
    found = local_measures(*(x[0].numpy() for x in agreement(student, teacher, z, v)))
    return found["local_cosine"].value, found["local_gain"].value


def agreement(student: Map, teacher: Map, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Of two maps, (e, n, p) twice."""
    return local_agreement(answers(student, z, v), answers(teacher, z, v))


def phi(z: Tensor) -> Tensor:
    """The flow of a mixture."""
    *_, last = path(Mixture(dim=z.shape[-1]).to(z.dtype).denoise, z, karras_grid(6, NoiseConfig()))
    return last


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_copy_reads_one_and_a_scaled_one_its_gain(dtype: torch.dtype) -> None:
    z = latents(0, 40, 3, 80.0)[None].to(dtype)
    assert read(phi, phi, z) == pytest.approx((1.0, 1.0), abs=1e-6)
    assert read(lambda x: -0.3 * phi(x) + 5, phi, z) == pytest.approx((-1.0, 0.3), abs=1e-6)


@pytest.mark.parametrize("d", [2, 8, 3, 9])
@pytest.mark.parametrize("theta", [30.0, 90.0, 140.0])
def test_a_planted_turn_of_an_isotropic_gaussian_has_its_closed_form(d: int, theta: float) -> None:
    """cos(theta) along every direction at even d; at odd d one axis of the basis rests."""
    R = torch.from_numpy(planted_rotation(d, theta, np.random.default_rng(d)))
    z, cos = latents(0, 3000, d, 80.0)[None].double(), math.cos(math.radians(theta))
    cosine, gain = read(lambda x: 0.01 * x @ R.mT, lambda x: 0.01 * x, z, probes=2)
    assert gain == pytest.approx(1.0)
    expected = cos + (1 - cos) / d if d % 2 else cos
    assert cosine == pytest.approx(expected, abs=0.02 if d % 2 else 1e-9)


def test_independent_maps_are_unrelated_on_average_and_gains_are_a_geometric_mean() -> None:
    d, rng = 6, np.random.default_rng(1)
    z, found = latents(0, 20, d, 1.0)[None].double(), []
    for _ in range(300):
        A, B = torch.from_numpy(rng.normal(size=(2, d, d)))
        found.append(read(lambda x, A=A: x @ A, lambda x, B=B: x @ B, z, probes=1))
    cosines, gains = np.array(found).T
    assert abs(cosines.mean()) < 4 * cosines.std() / math.sqrt(300)
    assert 0.5 / d < cosines.std() < 2 / d
    assert abs(np.log(gains).mean()) < 4 * np.log(gains).std() / math.sqrt(300)
    swapped = [read(f, g, z) for f, g in ((torch.sin, torch.exp), (torch.exp, torch.sin))]
    assert swapped[0][0] == pytest.approx(swapped[1][0])
    assert swapped[0][1] == pytest.approx(1 / swapped[1][1])


def test_members_have_numbers_each_and_leave_no_graph() -> None:
    z = latents(0, 30, 2, 1.0).double().expand(2, 30, 2)
    weights = torch.stack([torch.eye(2), torch.tensor([[0.0, 2.0], [-2.0, 0.0]])]).double().requires_grad_()
    cosine, gain = agreement(lambda x: x @ weights, lambda x: x, z, torch.randn(3, 2, 30, 2).double())
    assert cosine.shape == gain.shape == (2, 30, 3)
    assert not cosine.requires_grad
    np.testing.assert_allclose(cosine.mean(dim=(1, 2)), [1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(gain.mean(dim=(1, 2)), [1.0, 2.0])


def test_differences_of_float32_outputs_read_what_jacobians_read() -> None:
    rng, d = np.random.default_rng(2), 5
    z = (80 * rng.standard_normal((400, d))).astype(np.float32)
    R = planted_rotation(d, 50.0, rng).astype(np.float32)

    def numpy(x: np.ndarray) -> np.ndarray:
        return phi(torch.from_numpy(x)[None])[0].numpy()

    v = random_directions(*z.shape, rng)
    both = differences(numpy, z, v), differences(lambda x: numpy(x @ R.T), z, v)
    R64 = torch.from_numpy(R).double()
    exact = agreement(
        lambda x: phi(x @ R64.mT), phi, torch.from_numpy(z)[None].double(), torch.from_numpy(v)[None, None]
    )
    expected = local_measures(*(x[0].numpy() for x in exact))
    found = local_from_differences(*both)
    for key in expected:
        assert found[key].value == pytest.approx(expected[key].value, abs=0.02), key
    outputs = numpy(z)
    report = measure(outputs, outputs, teacher_differences=both[0], student_differences=both[1])
    assert {key: report.metrics[key] for key in found} == found
    assert any("local_cosine" in sentence for sentence in report.in_words())


def test_the_intervals_cover_the_truth() -> None:
    rng, inside = np.random.default_rng(3), np.zeros(2)
    for _ in range(200):
        cosine, gain = rng.uniform(-0.2, 0.8, size=(60, 2)), np.exp(rng.normal(0.4, 1.0, size=(60, 2)))
        found = local_measures(cosine, gain).values()
        inside += [m.low <= truth <= m.high for m, truth in zip(found, (0.3, math.exp(0.4)), strict=True)]
    assert np.all(np.abs(inside / 200 - 0.95) < 0.05)


@pytest.mark.parametrize("scale", [1e-60, 1.0, 1e60])
def test_the_size_of_differences_is_no_matter(scale: float) -> None:
    p, g = np.random.default_rng(4).normal(size=(2, 50, 3))
    plain, scaled = local_from_differences(p, g), local_from_differences(scale * p, scale * g)
    for key, measured in plain.items():
        assert scaled[key].value == pytest.approx(measured.value), key


def test_a_map_that_does_not_answer_is_said() -> None:
    p, g = np.random.default_rng(5).normal(size=(2, 400, 3))
    dead = local_from_differences(p, 0 * g)
    assert dead["local_gain"].value == 0.0
    assert "does not answer" in str(dead["local_cosine"].reason)
    deaf = local_from_differences(0 * p, g)
    assert not deaf["local_gain"].resolved
    few, many = (np.where(np.arange(400)[:, None] < k, 0.0, g) for k in (3, 40))
    assert local_from_differences(p, few) == local_from_differences(p[3:], g[3:])
    assert not any(m.resolved for m in local_from_differences(p, many).values())
    mixed = local_measures(np.full((2, 2), np.nan), np.array([[0.0, np.inf], [1.0, 1.0]]))
    assert not mixed["local_gain"].resolved


def test_a_calibration_holds_them_where_asked_and_is_otherwise_the_same() -> None:
    def made(points: int):  # type: ignore[no-untyped-def]
        rng = np.random.default_rng(6)
        z, fresh = rng.normal(size=(40, 4)), rng.normal(size=(80, 4))
        return calibrate(
            lambda x: 2 * x, z, fresh_noise=fresh, rng=rng, angles_degrees=(0, 60, 90), bases=2, local_points=points
        )

    plain, nearby = made(0), made(30)
    np.testing.assert_allclose(nearby.planted["local_cosine"], [[1.0] * 2, [0.5] * 2, [0.0] * 2], atol=1e-9)
    np.testing.assert_allclose(nearby.null["local_cosine"], [1.0] * 2)  # a linear map answers alike everywhere
    assert np.isnan(plain.null["local_cosine"]).all()
    np.testing.assert_allclose(nearby.planted["local_gain"], 1.0)
    assert np.isnan(plain.planted["local_cosine"]).all()
    np.testing.assert_array_equal(plain.planted["e_ot"], nearby.planted["e_ot"])
    np.testing.assert_array_equal(plain.null["e_ot"], nearby.null["e_ot"])


@pytest.mark.parametrize("points", [100, 3])
def test_the_planted_readings_of_a_mixture_fall_with_the_angle(points: int) -> None:
    """Exact answers and differences say the same; and where points are few, every basis is tried at all of them."""
    rng = np.random.default_rng(7)
    z, fresh = (80 * rng.standard_normal((2, points, 16))).astype(np.float32)

    def differ(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        return differences(lambda z: phi(torch.from_numpy(z)[None])[0].numpy(), x, v)

    def answer(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        both = (torch.from_numpy(array)[None].double() for array in (x, v))
        return torch.func.jvp(phi, *((array,) for array in both))[1][0].numpy()

    (exact, null), (found, other) = (
        planted_local(answers, z, fresh, rng=np.random.default_rng(8), angles_degrees=(0.0, 45.0, 90.0), bases=4)
        for answers in (answer, differ)
    )
    assert null["local_cosine"].shape == (4,)
    assert exact["local_cosine"].shape == exact["local_gain"].shape == (3, 4)
    np.testing.assert_allclose(exact["local_cosine"][0], 1.0)
    if points > 3:
        for key in exact:
            np.testing.assert_allclose(found[key].mean(axis=1), exact[key].mean(axis=1), atol=0.05)
            assert other[key].mean() == pytest.approx(null[key].mean(), abs=0.05)
        assert np.all(np.diff(exact["local_cosine"].mean(axis=1)) < -0.2)


@pytest.mark.parametrize(("silent", "expected"), [(200, [np.nan] * 2), (5, [np.nan] * 2), (1, [1.0, 0.0])])
def test_planted_readings_are_unresolved_where_the_map_often_does_not_answer(
    silent: int, expected: list[float]
) -> None:
    """A point of 200 is few, though of the 50 that a basis has it would be many."""
    z, fresh = np.random.default_rng(9).normal(size=(2, 200, 4))
    found, _ = planted_local(
        lambda x, v: v * (np.arange(len(v)) >= silent)[:, None],
        *(z, fresh),
        rng=np.random.default_rng(0),
        angles_degrees=(0.0, 90.0),
        bases=4,
    )
    np.testing.assert_allclose(found["local_cosine"], np.repeat(expected, 4).reshape(2, 4), atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: local_from_differences(x, x[:3]), "one shape"),
        (lambda x: local_measures(x, x[:, :1]), "alike"),
        (lambda x: measure(x, x, teacher_differences=x), "stand alone"),
        (lambda x: measure(x, x, teacher_differences=x, student_differences=x[:3]), "has 3 rows"),
        (lambda x: measure(x, x, teacher_differences=x[:, :1], student_differences=x[:, :1]), "must agree"),
    ],
)
def test_wrong_calls_are_sentences(call, message):  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=message):
        call(np.random.default_rng(9).normal(size=(5, 2)))
