"""The catalogue: laws by name, their parameters, and the sentence that each wrong input gets."""

from pathlib import Path

import numpy as np
import pytest
import torch
from least import least, sets_its_dim
from near import told

from dmdlab.config import InputError
from dmdlab.laws import LAWS, Empirical, Gaussian, Law, Mixture, law_parameters, make_law


@pytest.fixture
def points(tmp_path: Path) -> Path:
    path = tmp_path / "points.npy"
    np.save(path, np.random.default_rng(0).standard_normal((12, 4)))
    return path


MADE = {
    "gaussian": (1.00000, 4.03122),
    "mixture": (1.00000, 3.10585),
    "ring": (1.00995, 2.33169),
    "chessboard": (0.81650, -1.97346),
    "moons": (0.50354, 0.82811),
    "spiral": (0.67964, 2.40715),
    "cube": (1.00000, 3.95690),
    "sphere": (1.00000, 4.47304),
    "empirical": (0.81731, -1.26544),
    "manifold": (0.58908, 4.10085),
    "field": (1.00000, 2.42996),
    "fields": (1.00000, -1.23614),
    "blobs": (0.90278, -7.26862),
    "images": (0.28803, -0.77759),
    "digits": (0.35921, 0.46583),
}
"""What the least configuration of each law has always made: its sigma_data, and its first three samples as `told`.
Where one changes, so does every result on that law: raise `RESULT_VERSION` (CONTRIBUTING.md), then pin it anew."""


@pytest.mark.parametrize("name", LAWS)
def test_every_law_is_made_from_its_name_and_from_its_full_parameters(name: str, tmp_path: Path) -> None:
    spec = least(name, tmp_path)
    law, full = make_law(spec), make_law(law_parameters(name) | spec)
    assert type(law) is LAWS[name]
    assert law.name == name
    assert len(law.summary.splitlines()) == 1
    assert 0 < law.intrinsic_dim <= law.dim == spec.get("dim", 16)
    x, again = (each.sample(3, torch.Generator().manual_seed(0)) for each in (law, full))
    assert torch.equal(x, again)
    assert (law.sigma_data, told(x)) == pytest.approx(MADE[name], rel=1e-4)
    assert law.has_denoiser == (name not in ("manifold", "blobs", "images", "digits"))
    if law.has_denoiser:
        assert torch.equal(law.denoise(x, 0.5), full.denoise(x, 0.5))
    else:
        with pytest.raises(NotImplementedError, match=f"{name}.*no closed-form denoiser: train a teacher"):
            law.denoise(x, 0.5)


@pytest.mark.parametrize("name", [name for name in LAWS if name != "empirical" and not sets_its_dim(name)])
def test_dimension_starts_at_the_law_s_minimum(name: str) -> None:
    least = LAWS[name].min_dim
    law = make_law({"name": name, "dim": least})
    assert law.denoise(torch.zeros(least), 1.0).shape == (least,)
    with pytest.raises(InputError, match=rf"law.dim is {least - 1}, but the law '{name}' needs at least {least}"):
        make_law({"name": name, "dim": least - 1})


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mixture", {}),
        ("mixture", {"intrinsic": 2, "rank": 1, "balanced": False}),
        ("gaussian", {"basis": "random", "spectrum": "power"}),
        ("ring", {"embedding": "random"}),
        ("moons", {"embedding": "random"}),
    ],
)
def test_the_seed_makes_the_law(name: str, changes: dict[str, object]) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    first, again, other = (make_law({"name": name, "dim": 4, "seed": seed, **changes}) for seed in (1, 1, 2))
    assert torch.equal(first.denoise(x, 0.5), again.denoise(x, 0.5))
    assert not torch.allclose(first.denoise(x, 0.5), other.denoise(x, 0.5))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"dim": 4}, r"law.name is missing: expected one of blobs, chessboard, .*spiral"),
        ({"name": "mixtur", "dim": 4}, r"law.name is 'mixtur', which is not a law; did you mean 'mixture'\?"),
        ({"name": 3, "dim": 4}, r"law.name is '?3'?, which is not a law"),
        ({"name": "mixture"}, r"law.dim is missing: the law 'mixture' needs it"),
        ({"name": "mixture", "dim": "4"}, r"law.dim of the law 'mixture' is '4', but should be a valid integer"),
        ({"name": "mixture", "dim": 4.0}, r"law.dim .* is 4.0, but should be a valid integer"),
        ({"name": "mixture", "dim": True}, r"law.dim .* is True, but should be a valid integer"),
        ({"name": "mixture", "dim": 4, "stdd": 1}, r"law.stdd is not a parameter .*; did you mean 'law.std'\?"),
        ({"name": "mixture", "dim": 4, "std": -0.1}, r"law.std .* is -0.1, but should be greater than 0"),
        ({"name": "mixture", "dim": 4, "std": 1.1}, r"law.std .* is 1.1, but should be less than or equal to 1"),
        ({"name": "mixture", "dim": 4, "components": 0}, r"law.components .* greater than or equal to 1"),
        ({"name": "mixture", "dim": 4, "components": 1}, r"law.std is 0.3, but .* set law.std to 1"),
        ({"name": "mixture", "dim": 4, "intrinsic": 5}, r"law.intrinsic is 5, .* at most law.dim = 4"),
        ({"name": "mixture", "dim": 4, "rank": 5}, r"law.rank is 5, .* at most law.dim = 4"),
        ({"name": "mixture", "dim": 4, "seed": -1}, r"law.seed .* is -1, but should be greater than or equal to 0"),
        ({"name": "gaussian", "dim": 4, "spectrum": "pow"}, r"law.spectrum .* should be 'flat' or 'power'"),
        ({"name": "ring", "dim": 4, "embedding": "axis"}, r"law.embedding .* should be 'axes' or 'random'"),
        ({"name": "chessboard", "dim": 4, "cells": 3}, r"law.cells .* is 3, but should be a multiple of 2"),
        ({"name": "moons", "dim": 4, "std": 0.001}, r"law.std .* greater than or equal to 0.01"),
        ({"name": "cube", "dim": 4, "scale": float("nan")}, r"law.scale .* is nan, but should be a finite number"),
        ({"name": "cube", "dim": 4, "seed": 0}, r"law.seed is not a parameter of the law 'cube'"),
        (
            {"name": "mixture", "dim": 4, "path": "x"},
            r"'mixture'; laws that have it are empirical, images: set law.name",
        ),
        ({"name": "empirical", "dim": 4}, r"law.path is missing"),
        ({"name": "empirical", "dim": 4, "points": [[1.0] * 4]}, r"law.points is not a parameter"),
        ({"name": "empirical", "dim": 4, "path": 3}, r"law.path .* is 3, but should be a valid string"),
        ({"name": "gaussian", "dim": 2, "variances": [1.0, 2.0]}, r"law.variances is not a parameter"),
    ],
)
def test_bad_specs_get_a_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_law(given)


@pytest.mark.parametrize(
    ("law", "given", "sentence"),
    [
        (Mixture, {"std": 0}, r"law.std of the law 'mixture' is 0, but should be greater than 0"),
        (Gaussian, {"spectrums": "flat"}, r"law.spectrums is not a parameter .*; did you mean 'law.spectrum'\?"),
        (Gaussian, {"variances": [1.0]}, r"law.variances has 1 numbers, .* law.dim = 2"),
        (
            Gaussian,
            {"variances": [1.0, -1.0]},
            r"law.variances\[1\] .* is -1.0, but should be greater than or equal to 0",
        ),
        (Gaussian, {"variances": [0.0, 0.0]}, r"law.variances .* at least one above 0"),
        (Empirical, {"path": "p.npy", "points": np.zeros((2, 2))}, r"law.path and points are both given"),
    ],
)
def test_constructors_speak_as_the_catalogue_does(law: type[Law], given: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        law(dim=2, **given)


class Evil:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("a pickle was loaded",))


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(4), r"has shape \(4,\), expected \(m, 4\)"),
        (np.zeros((0, 4)), r"has shape \(0, 4\), expected \(m, 4\) with at least one row"),
        (np.zeros((5, 2, 2)), r"has shape \(5, 2, 2\), expected \(m, 4\)"),
        (np.zeros((5, 3)), r"has shape \(5, 3\), but law.dim is 4: set law.dim to 3"),
        (np.zeros((5, 4), dtype=complex), r"holds complex128 entries, expected real numbers"),
        (np.array([["a"] * 4]), r"holds <U1 entries, expected real numbers"),
        (np.where(np.eye(4) > 0, np.nan, 0), r"holds 4 entries that are NaN or infinite in float32, first in row 0"),
        (np.pad([[1e300]], ((2, 0), (0, 3))), r"holds 1 entries that are NaN or infinite in float32, first in row 2"),
        (np.array([[Evil()] * 4], dtype=object), r"an array of Python objects, stored as a pickle.* never opened"),
    ],
)
def test_bad_arrays_get_a_sentence(array: np.ndarray, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, array)
    with pytest.raises(InputError, match=rf"data.npy.*{sentence}"):
        make_law({"name": "empirical", "dim": 4, "path": str(path)})


def test_bad_files_get_a_sentence(tmp_path: Path, points: Path) -> None:
    text, empty, cut, archive = (tmp_path / name for name in ("a.npy", "b.npy", "c.npy", "d.npz"))
    text.write_text("1 2 3 4")
    empty.write_bytes(b"")
    cut.write_bytes(points.read_bytes()[:-9])
    np.savez(archive, x=np.zeros((2, 4)))
    for path, sentence in [
        (text, r"a.npy: not an npy file; expected a .npy file of points \(m, d\)"),
        (empty, r"an empty file; expected a .npy file of points \(m, d\)"),
        (cut, "damaged or cut short"),
        (archive, r"an npz archive; expected a .npy file of points \(m, d\)"),
        (tmp_path / "a.np", "no such file; did you mean 'a.npy'"),
        (tmp_path / "none", "no such file; expected a .npy file of points"),
        (tmp_path, "cannot be read .this is a folder; expected a file"),
    ]:
        with pytest.raises(InputError, match=rf"law.path: .*{sentence}"):
            make_law({"name": "empirical", "dim": 4, "path": str(path)})


def test_arrays_and_files_make_the_same_law(points: Path) -> None:
    from_file = Empirical(dim=4, path=points)
    from_torch = Empirical(dim=4, points=torch.from_numpy(np.load(points)))
    assert torch.equal(from_file.points, from_torch.points)
    assert from_file.points.dtype == torch.float32


def test_denoise_refuses_shapes_that_would_broadcast_silently() -> None:
    law = Gaussian(dim=3)
    x = torch.zeros(5, 3)
    with pytest.raises(InputError, match=r"x_sigma is torch.float32 of shape \(5, 2\), .*last axis of 3"):
        law.denoise(x[:, :2], 1.0)
    with pytest.raises(InputError, match=r"x_sigma is torch.int64 .*give floats"):
        law.denoise(x.long(), 1.0)
    for shape in [(3,), (5,), (4, 1), (2, 5, 1)]:
        with pytest.raises(InputError, match=r"does not broadcast against x_sigma\[..., :1\] of shape \(5, 1\)"):
            law.denoise(x, torch.ones(shape))
    for level in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="expected a noise level above 0"):
            law.log_density(x, level)
    with pytest.raises(InputError, match="'gaussian' has no exact denoiser given a class: give no label"):
        law.denoise(x, 1.0, torch.zeros(x.shape[:-1], dtype=torch.int64))
    with pytest.raises(NotImplementedError, match="'gaussian' has no class labels"):
        law.sample_labelled(3, torch.Generator())
