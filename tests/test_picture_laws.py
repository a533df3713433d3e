"""Laws of pictures: denoisers against dense algebra, one law at every side, degrees of freedom, and their settings."""

import math

import numpy as np
import pytest
import torch
from near import assert_near, generator
from scipy import stats
from torch import Tensor

from dmdlab.config import InputError, experiment_from
from dmdlab.experiments import load, resolve, spelled_out
from dmdlab.laws import Blobs, Field, Fields, Law, Manifold
from dmdlab.laws.manifold import pixel_features
from dmdlab.laws.pictures import Pictures, centres

NETWORK = "teacher.kind=network"


def averaged(x: Tensor, law: Pictures, factor: int) -> Tensor:
    """Pictures (n, d) of a law averaged over blocks of pixels, (n, d / factor^2)."""
    return torch.nn.functional.avg_pool2d(x.unflatten(-1, law.shape), factor).flatten(1)


# --- exact denoisers against dense algebra


@pytest.mark.parametrize(("channels", "exponent"), [(1, 2.0), (3, 1.0), (1, 0.0)])
def test_a_field_is_the_gaussian_of_its_covariance(channels: int, exponent: float) -> None:
    law = Field(side=4, channels=channels, exponent=exponent, scale=1.3)
    cov, sigma = law.covariance(), 0.6
    assert_near(cov.diagonal(), np.full(law.dim, 1.3**2))
    x = torch.randn(5, law.dim, generator=generator(), dtype=torch.float64)
    noised = cov + sigma**2 * torch.eye(law.dim, dtype=torch.float64)
    assert_near(law.denoise(x, sigma), x @ torch.linalg.solve(noised, cov))
    assert_near(law.log_density(x, sigma), stats.multivariate_normal(cov=noised.numpy()).logpdf(x.numpy()))


@pytest.mark.parametrize("side", [4, 5])
def test_a_field_is_stationary_with_the_power_law_that_the_complex_fft_sees(side: int) -> None:
    """A third way to the same law: its covariance is circulant, and its spectrum is that of numpy's FFT."""
    law = Field(side=side, exponent=1.5)
    cov = law.covariance().numpy().reshape(side, side, side, side)
    np.testing.assert_allclose(np.roll(cov, (1, 2, 1, 2), (0, 1, 2, 3)), cov, atol=1e-12)
    power = np.fft.fft2(cov[0, 0]).real
    radius = np.maximum(np.hypot(*np.meshgrid(np.fft.fftfreq(side) * side, np.fft.fftfreq(side) * side)), 1)
    np.testing.assert_allclose(power / power[0, 0], radius**-1.5, atol=1e-12)
    x = torch.randn(3, side**2, generator=generator(), dtype=torch.float64)
    filtered = np.fft.ifft2(np.fft.fft2(x.numpy().reshape(3, side, side)) * power / (power + 0.49)).real
    assert_near(law.denoise(x, 0.7), filtered.reshape(3, -1))


def test_fields_are_the_mixture_of_their_dense_components_given_a_class_or_not() -> None:
    law = Fields(side=4, components=3, scale=0.8)
    x, sigma = torch.randn(7, 16, generator=generator(), dtype=torch.float64), 0.5
    joint, means = [], []
    for label in range(3):
        cov = law.covariance(label).numpy()
        noised = cov + sigma**2 * np.eye(16)
        joint.append(stats.multivariate_normal(cov=noised).pdf(x.numpy()) / 3)
        means.append(x.numpy() @ np.linalg.solve(noised, cov))
        assert_near(law.denoise(x, sigma, torch.full((7,), label)), means[-1])
    p = np.sum(joint, axis=0)
    assert (np.array(joint) / p).max(0).min() < 0.9  # several classes count
    assert_near(law.denoise(x, sigma), np.einsum("kn,knd->nd", np.array(joint) / p, means))
    assert_near(law.log_density(x, sigma), np.log(p))
    mixed = torch.tensor([0, 2, 1, 0, 1, 2, 2])
    assert_near(law.denoise(x, sigma, mixed), np.stack([means[k][i] for i, k in enumerate(mixed.tolist())]))


def test_the_samples_of_each_field_have_the_covariance_of_their_class() -> None:
    law = Fields(side=4, components=2)
    x, labels = law.sample_labelled(40_000, generator())
    assert torch.equal(x, law.sample(40_000, generator()))
    for label in (0, 1):
        own = x[labels == label].double()
        found, expected = own.mT @ own / len(own), law.covariance(label)
        assert (found - expected).abs().max() < 6 / math.sqrt(len(own))


# --- one law at every side


def test_the_same_manifold_exists_at_every_side() -> None:
    """A pixel is the mean over its square, so that averaging is exact; values at the pixels' centres would not be."""
    z = torch.randn(6, 16, generator=generator(), dtype=torch.float64)
    fine = Manifold(side=16, seed=3)
    x = fine.pictures(z)
    for side in (8, 4):
        own = Manifold(side=side, seed=3)
        error = (averaged(x, fine, 16 // side) - own.pictures(z)).norm() / own.pictures(z).norm()
        assert error < 1e-12
    frequencies = torch.tensor([[6.0, -4.0]], dtype=torch.float64)
    phase = torch.zeros(1, dtype=torch.float64)
    mean = pixel_features(8, frequencies, phase) / math.sqrt(2)
    y, x = torch.meshgrid(centres(512), centres(512), indexing="ij")
    dense = torch.cos(6 * y - 4 * x).view(8, 64, 8, 64).mean((1, 3)).flatten()
    torch.testing.assert_close(mean[0], dense, rtol=0, atol=1e-4)


def test_a_channel_more_and_a_stripe_more_leave_the_manifold_as_it_is() -> None:
    z = torch.randn(6, 16, generator=generator(), dtype=torch.float64)
    grey, colour = Manifold(side=8), Manifold(side=8, channels=3)
    assert_near(colour.pictures(z)[:, :64], grey.pictures(z))
    striped, labels = Manifold(side=20, stripes=True), torch.arange(10)
    x = striped.pictures(z[:1].expand(10, -1), labels).unflatten(1, (20, 20))
    plain = Manifold(side=20).pictures(z[:1]).unflatten(1, (20, 20))
    stripe = x - plain  # two columns of twenty for each class, on mean 0
    assert_near(stripe.mean(0), np.zeros((20, 20)))
    assert_near(stripe.amax(dim=(1, 2)), np.full(10, 2 * 0.9))  # two scales, less their mean over the classes
    assert [set(row[0].argsort()[-2:].tolist()) for row in stripe] == [{2 * c, 2 * c + 1} for c in range(10)]
    assert_near(averaged(x.flatten(1), striped, 5), Manifold(side=4, stripes=True).pictures(z[:1], labels))


def test_the_same_blobs_exist_at_every_side() -> None:
    rng = generator(1)
    place, width = 0.8 * (2 * torch.rand(5, 3, 2, generator=rng) - 1), 0.2 + 0.2 * torch.rand(5, 3, generator=rng)
    latents = [part.double() for part in (place, width, torch.randn(5, 3, 3, generator=rng))]
    fine, coarse = (Blobs(side=s, channels=3, blobs=3) for s in (16, 4))
    assert_near(averaged(fine.pictures(*latents), fine, 4), coarse.pictures(*latents))
    axis = (centres(512)[:, None] - latents[0][:, :, None, None, 0]) ** 2
    across = (centres(512) - latents[0][:, :, None, None, 1]) ** 2
    dense = torch.exp(-(axis + across) / (2 * latents[1][..., None, None] ** 2))  # (n, b, 512, 512)
    red = coarse.gain * torch.einsum("nb,nbyx->nyx", latents[2][..., 0], dense)
    torch.testing.assert_close(
        red.view(5, 4, 128, 4, 128).mean((2, 4)).flatten(1),
        coarse.pictures(*latents)[:, :16],
        rtol=0,
        atol=1e-4,
    )


# --- how many dimensions, and how large


def rank(function: object, point: Tensor) -> int:
    jacobian = torch.autograd.functional.jacobian(function, point).flatten(1)  # type: ignore[arg-type]
    return int(torch.linalg.matrix_rank(jacobian, rtol=1e-9))


@pytest.mark.parametrize(("side", "channels", "k"), [(4, 1, 3), (8, 1, 16), (4, 1, 16), (8, 3, 100), (16, 1, 256)])
def test_the_manifold_has_its_intrinsic_dimension(side: int, channels: int, k: int) -> None:
    law = Manifold(side=side, channels=channels, intrinsic=k, cycles=2.0 if k < 128 else 5.0)
    z = torch.randn(k, generator=generator(2), dtype=torch.float64)
    assert rank(law.pictures, z) == law.intrinsic_dim == k


@pytest.mark.parametrize(("blobs", "channels"), [(1, 1), (4, 1), (3, 3)])
def test_the_blobs_have_their_degrees_of_freedom(blobs: int, channels: int) -> None:
    law = Blobs(side=16, channels=channels, blobs=blobs)
    u = torch.rand(1, blobs, 3 + channels, generator=generator(4), dtype=torch.float64)

    def pictures(flat: Tensor) -> Tensor:
        one = flat.view(1, blobs, -1)
        return law.pictures(one[..., :2] - 0.5, 0.15 + 0.2 * one[..., 2], 1 + one[..., 3:])[0]

    assert rank(pictures, u.flatten()) == law.intrinsic_dim == blobs * (3 + channels)


SIZED: list[Law] = [
    Manifold(side=8),
    Manifold(side=4, channels=3, intrinsic=5, stripes=True, scale=0.5, seed=2),
    Manifold(side=8, stripes=True, empirical=50),
    Blobs(side=8, scale=2.0),
    Blobs(side=8, channels=3, blobs=7),
    Blobs(side=4, empirical=3),
    Field(side=4, scale=0.5),
    Fields(side=4, channels=3, scale=1.5),
]


@pytest.mark.parametrize("law", SIZED, ids=lambda law: f"{law.name}-{law.dim}")
def test_sigma_data_is_that_of_the_samples(law: Law) -> None:
    x = law.sample(30_000, generator(5)).double()
    energy = (x - x.mean(0)).square().mean(1)
    measured = 0.005 * law.sigma_data**2 if law.name == "manifold" else 0.0
    assert abs(energy.mean() - law.sigma_data**2) < 4 * energy.std() / math.sqrt(len(x)) + measured
    if not law.has_denoiser:
        assert (x.mean(0).abs() < 5 * x.std(0) / math.sqrt(len(x))).all()
    assert math.prod(law.shape) == law.dim


def test_a_training_set_has_a_denoiser_of_its_own_and_the_other_parts_are_fresh() -> None:
    law = Manifold(side=4, intrinsic=2, stripes=True, empirical=5)
    x, labels = law.sample_labelled(200, generator())
    points = x.unique(dim=0)
    assert len(points) == 5
    assert len(torch.cat([x, labels[:, None]], dim=1).unique(dim=0)) == 5  # a picture keeps its label
    assert_near(law.denoise(points.double(), 0.01), points)
    for part in ("reference", "measure"):
        other, _ = law.sample_labelled(50, generator(), part=part)
        assert torch.cdist(other, points).min() > 1e-4
    with pytest.raises(InputError, match="part is 'test', expected one of train, reference, measure"):
        law.sample(3, generator(), part="test")  # type: ignore[arg-type]


# --- in an experiment


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["law.name=field", "law.side=3"],
            r"law.side of the law 'field' is 3, but should be greater than or equal to 4",
        ),
        (["law.name=field", "law.side=65"], r"law.side .* is 65, but should be less than or equal to 64"),
        (["law.name=field", "law.channels=2"], r"law.channels .* is 2, but should be 1 or 3"),
        (["law.name=field", "law.dim=64"], r"law.dim is 64, but law.side = 16 .* make pictures of 256 numbers: leave"),
        (["law.name=fields", "law.exponent=2.0", "law.exponent_last=2.0"], "both 2.0, but .* set them apart"),
        (
            ["law.name=manifold", "law.side=4", "law.intrinsic=17"],
            "17 degrees of freedom, but .* has 16 numbers: lower",
        ),
        (
            ["law.name=manifold", "law.intrinsic=257"],
            r"law.intrinsic .* is 257, but should be less than or equal to 256",
        ),
        (["law.name=blobs", "law.side=4", "law.blobs=5"], "5 blobs make 20 degrees of freedom, but .* 16 numbers"),
        (["law.name=manifold"], r"teacher.kind: .*'manifold' has no exact denoiser; use .*law.empirical=500"),
        (["law.name=manifold", NETWORK, "teacher.target=posterior"], "teacher.target: the law 'manifold' has no exact"),
        (["law.name=images", NETWORK], "law.path is missing: the law 'images' expects an IDX file"),
    ],
)
def test_a_wrong_setting_gets_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        load(None, None, words).experiments()


def test_side_and_channels_set_the_dimension() -> None:
    def one(*words: str, preset: str | None = None) -> tuple[int, str]:
        found = load(None, preset, ["law.name=field", *words]).experiments()[0]
        assert resolve(experiment_from(spelled_out(found))) == found
        return found.law.dim, found.id

    assert one()[0] == 256
    assert one("law.side=8", "law.channels=3")[0] == 192
    assert one("law.side=16", "law.dim=256") == one()
    assert one("law.side=8")[1] != one()[1]
    assert one("law.side=8", preset="quickstart")[0] == 64  # whose own law.dim it leaves behind
    swept = load(None, None, ["law.name=field", "law.side=[4, 8]"]).experiments()
    assert [e.law.dim for e in swept] == [16, 64]
