"""Planted remaps: the rotation itself, closed forms for a Gaussian, and reading a known angle back."""

import json
import math

import numpy as np
import pytest

from dmdlab.config import InputError
from dmdlab.pairing import METRICS, Calibration, Measured, calibrate, measure, planted_rotation, remap_angle
from dmdlab.pairing.bases import DenseBasis, FastBasis, random_basis, turned
from dmdlab.pairing.calibration import FINE_ANGLES, monotone_curve
from dmdlab.pairing.planted import turned_maps
from dmdlab.transport import transport_cost


def bent(z):
    """A teacher map with curvature and edges."""
    return np.tanh(2.0 * z) + 0.3 * np.sign(z)


def calibration(d, n=200, teacher_map=bent, bases=3, seed=0):
    rng = np.random.default_rng(seed)
    return calibrate(
        teacher_map, rng.normal(size=(n, d)), fresh_noise=rng.normal(size=(2 * n, d)), rng=rng, bases=bases
    )


@pytest.fixture(scope="module")
def in_six():
    return calibration(6)


def test_a_student_without_memory_reads_blocks_that_share_no_row_where_there_are_enough():
    rng = np.random.default_rng(3)
    noise, fresh = rng.normal(size=(20, 2)), rng.normal(size=(60, 2))
    made = calibrate(lambda z: z, noise, fresh_noise=fresh, rng=rng, angles_degrees=(0, 90), shares=(), bases=2)
    expected = [((noise - block) ** 2).sum(axis=1).mean() for block in (fresh[20:40], fresh[40:])]
    np.testing.assert_allclose(made.null["e_dt"], expected)


@pytest.mark.parametrize(("d", "turns"), [(4, 3 * 2 + 1), (5, 3 * 3)])
def test_the_map_is_asked_once_for_what_does_not_depend_on_the_basis(d, turns):
    """No turn at all, and the half turn of an even number of dimensions, -z in every basis."""
    rng, asked, angles = np.random.default_rng(6), [], (0.0, 30.0, 90.0, 180.0)
    noise, fresh = rng.normal(size=(20, d)), rng.normal(size=(80, d))

    def counted(z):
        asked.append(z)
        return bent(z)

    made = calibrate(counted, noise, fresh_noise=fresh, rng=rng, angles_degrees=angles, shares=(), bases=3)
    assert len(asked) == turns + 3 == turned_maps(angles, 3, d) + 3  # beside the pairs, the reference and the null
    assert (made.planted["pair_cosine"][0] == 1).all()
    reflected = measure(bent(noise), bent(turned(noise, random_basis(d, rng), 180.0))).values()["pair_cosine"]
    if d % 2 == 0:
        np.testing.assert_allclose(made.planted["pair_cosine"][3], reflected, rtol=1e-12)
    else:
        assert np.ptp(made.planted["pair_cosine"][3]) > 0


def test_a_collapsed_student_explains_nothing_wherever_the_law_lies():
    """It answers the mean: r2 is 0 and all it costs is the spread."""
    rng = np.random.default_rng(4)
    noise, fresh = rng.normal(size=(30, 2)), rng.normal(size=(60, 2))
    made = calibrate(lambda z: z + 7.0, noise, fresh_noise=fresh, rng=rng, angles_degrees=(0, 90), shares=(), bases=1)
    assert made.collapsed["r2"] == pytest.approx(0.0, abs=1e-12)
    assert made.collapsed["e_dt"] == pytest.approx(noise.var(axis=0).sum())


def test_mixtures_take_rows_from_all_of_the_sample():
    """Whatever its order: here the second half of the rows holds all of the spread."""
    rng = np.random.default_rng(5)
    noise, fresh = rng.normal(size=(100, 3)), rng.normal(size=(500, 3))
    noise[:50] *= 1e-3
    given = {"angles_degrees": (0, 90), "shares": (0.5,), "bases": 4}
    made = calibrate(lambda z: z, noise, fresh_noise=fresh, rng=rng, **given)
    assert 0.15 < made.mixture["pair_cosine"].mean() < 0.6


@pytest.mark.parametrize("d", [1, 2, 3, 8, 33, 257])
@pytest.mark.parametrize("theta", [0.0, 37.0, 90.0, 180.0])
def test_the_planted_rotation_is_orthogonal_and_turns_by_the_angle(d, theta):
    R = planted_rotation(d, theta, np.random.default_rng(d))
    np.testing.assert_allclose(R @ R.T, np.eye(d), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    angles = np.sort(np.abs(np.degrees(np.angle(np.linalg.eigvals(R)))))
    np.testing.assert_allclose(angles, [0.0] * (d % 2) + [theta] * (2 * (d // 2)), atol=1e-5)


@pytest.mark.parametrize("d", [5, 300])
def test_turning_rows_is_the_matrix_and_angles_add_in_one_basis(d):
    z = np.random.default_rng(1).normal(size=(20, d))
    basis = random_basis(d, np.random.default_rng(2))
    R = planted_rotation(d, 50.0, np.random.default_rng(2))
    np.testing.assert_allclose(turned(z, basis, 50.0), z @ R.T, atol=1e-12)
    np.testing.assert_allclose(turned(turned(z, basis, 20.0), basis, 30.0), z @ R.T, atol=1e-12)
    np.testing.assert_allclose(turned(turned(z, basis, 50.0), basis, -50.0), z, atol=1e-12)
    assert turned(z.astype(np.float32), basis, 10.0).dtype == np.float32


@pytest.mark.parametrize("d", [1, 2, 5, 64, 257])
@pytest.mark.parametrize("kind", [DenseBasis, FastBasis])
def test_a_basis_is_orthonormal(kind, d):
    basis = kind.draw(d, np.random.default_rng(d))
    B = basis.coordinates(np.eye(d))
    np.testing.assert_allclose(B @ B.T, np.eye(d), atol=1e-12)
    np.testing.assert_allclose(basis.vectors(B), np.eye(d), atol=1e-12)


def test_a_fast_basis_reads_as_a_dense_one():
    """The pair_cosine of a map with curvature and edges, over many bases: its mean agrees, and no kind varies more."""
    rng = np.random.default_rng(11)
    mix = rng.normal(size=(64, 64)) * np.geomspace(2.0, 0.1, 64) / 8.0  # so that no coordinate is like another
    z = rng.normal(size=(500, 64))
    P = bent(z @ mix)

    def cosines(kind):
        bases = [kind.draw(64, rng) for _ in range(16)]
        students = ((bent(turned(z, basis, a) @ mix) for basis in bases) for a in (15.0, 45.0, 90.0, 120.0))
        return np.array([[(P * G).sum() / np.sqrt((P**2).sum() * (G**2).sum()) for G in row] for row in students])

    dense, fast = cosines(DenseBasis), cosines(FastBasis)  # (angles, bases)
    noise = np.sqrt((dense.var(axis=1, ddof=1) + fast.var(axis=1, ddof=1)) / 16)
    assert np.all(np.abs(dense.mean(axis=1) - fast.mean(axis=1)) < 3.5 * noise)
    assert np.all(np.abs(np.log(dense.std(axis=1) / fast.std(axis=1))) < math.log(2.5))


def test_a_calibration_in_many_dimensions_makes_no_dense_basis(monkeypatch):
    monkeypatch.setattr(np.linalg, "qr", lambda *_: pytest.fail("a dense basis"))
    cosine = calibration(1024, n=20, bases=1).curve("pair_cosine")
    assert cosine[0] == 1.0
    assert np.all(np.diff(cosine) < 0)
    assert cosine[-1] == pytest.approx(-1.0)


def test_the_axes_are_haar_distributed():
    """Every entry of a Haar matrix has mean 0 and variance 1 / d; plain QR has a biased diagonal."""
    rng = np.random.default_rng(3)
    axes = np.array([DenseBasis.draw(4, rng).axes for _ in range(2000)])
    np.testing.assert_allclose(axes.mean(axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose((axes**2).mean(axis=0), 0.25, atol=0.03)


@pytest.mark.parametrize(("d", "n"), [(2, 500), (5, 500), (24, 500), pytest.param(1024, 1000, marks=pytest.mark.slow)])
def test_a_linear_teacher_of_an_isotropic_prior_has_its_closed_form(d, n):
    """e_dt = 2 tr(S) (1 - tr(R) / d) and pair_cosine = tr(R) / d; the angle between the planted ones is read back."""
    made = calibration(d, n=n, teacher_map=lambda z: 3.0 * z)
    share = (2 * (d // 2) * np.cos(np.radians(made.angles_degrees)) + d % 2) / d
    np.testing.assert_allclose(made.curve("pair_cosine"), share, atol=2 / math.sqrt(n * d))  # two standard errors
    np.testing.assert_allclose(made.curve("e_dt"), 2 * 9.0 * d * (1 - share), rtol=0.1, atol=1e-12)
    for angle in (2.6, 26.0, 52.0, 84.0):
        cosine = (2 * (d // 2) * math.cos(math.radians(angle)) + d % 2) / d
        assert remap_angle(made, cosine).value == pytest.approx(angle, abs=1.5)


def test_an_angles_interval_holds_the_spread_of_the_bases_and_that_of_the_sample():
    """Two bases 0.004 apart: Student's half-width at one degree of freedom is 12.7 times 0.002."""
    angles = np.array([0.0, 30.0, 60.0, 90.0])
    cosines = np.cos(np.radians(angles))[:, None] + [-0.002, 0.002]
    made = Calibration(9, 4, angles, np.empty(0), {"pair_cosine": cosines}, {}, {}, {}, math.nan)
    for given, low, high in ((0.5, 0.5, 0.5), (Measured(0.5, 0.4, 0.6), 0.4, 0.6)):
        found = remap_angle(made, given)
        assert found.value == pytest.approx(60.0, abs=0.1)
        ends = [math.degrees(math.acos(end)) for end in (high + 0.0254, low - 0.0254)]
        assert [found.low, found.high] == pytest.approx(ends, abs=0.1)


@pytest.mark.parametrize("wide", [30.0, 45.0, 60.0])
@pytest.mark.parametrize("cosine", [0.2, 0.49, 0.7, 0.9])
def test_an_angles_interval_holds_every_angle_that_the_spread_allows(wide, cosine):
    """However it goes up and down with the angle, as that of two bases does; found by trying all angles."""
    angles = np.array([0.0, 30.0, 45.0, 60.0, 90.0])
    cosines = np.cos(np.radians(angles))[:, None] + np.where(angles == wide, 0.03, 0.0005)[:, None] * [-1.0, 1.0]
    made = Calibration(9, 4, angles, np.empty(0), {"pair_cosine": cosines}, {}, {}, {}, math.nan)
    found, (curve, spread) = remap_angle(made, cosine), monotone_curve(made)
    allowed = FINE_ANGLES[np.abs(curve - cosine) <= spread]
    assert [found.low, found.high] == pytest.approx([allowed.min(), allowed.max()], abs=0.06)  # the grid's step is 0.05


def test_a_calibration_spans_from_copy_to_point_reflection(in_six):
    cosine = in_six.curve("pair_cosine")
    assert cosine[0] == 1.0
    assert cosine[-1] == pytest.approx(-1.0)  # the map is odd, so turning by 180 degrees flips the sign
    assert np.all(np.diff(cosine) < 0)
    assert in_six.curve("delta_e")[0] == 0.0
    assert in_six.curve("e_dt")[0] == 0.0
    np.testing.assert_allclose(in_six.planted["fidelity"], 1.0, atol=0.35)  # the law is kept at every angle
    np.testing.assert_allclose(in_six.planted["variance_ratio"], 1.0, atol=0.1)
    assert set(in_six.planted) == set(in_six.mixture) == set(in_six.null) == set(in_six.collapsed) == set(METRICS)
    assert in_six.at("pair_cosine", 90.0) == cosine[list(in_six.angles_degrees).index(90.0)]


def test_null_mixture_collapsed_and_floor_are_what_they_say(in_six):
    np.testing.assert_allclose(in_six.null["pair_cosine"], 0.0, atol=0.12)
    np.testing.assert_allclose(in_six.null["fidelity"], 1.0, atol=0.3)
    np.testing.assert_allclose(in_six.null["delta_e"], in_six.null["delta_e_ceiling"], rtol=0.15)
    np.testing.assert_allclose(in_six.mixture["pair_cosine"].mean(axis=1), 1 - in_six.shares, atol=0.08)
    assert math.isnan(in_six.collapsed["delta_e"])
    assert in_six.collapsed["pair_auc"] == pytest.approx(0.5, abs=1e-6)
    assert in_six.floor == pytest.approx(np.mean(in_six.null["e_ot"]), rel=0.2)


@pytest.mark.parametrize("multiples", [2, 3])
def test_bases_and_draws_of_the_null_are_several_and_the_laws_samples_share_no_rows(multiples):
    """With too little fresh noise the draws of the null share rows, and the law's samples are fewer instead."""
    rng = np.random.default_rng(6)
    noise, fresh = rng.normal(size=(12, 3)), rng.normal(size=(multiples * 12, 3))
    given = {"fresh_noise": fresh, "angles_degrees": (0, 90), "shares": (0.5,), "bases": 2}
    made = calibrate(lambda z: 3.0 * bent(z), noise, rng=np.random.default_rng(7), **given)
    for row in (made.planted["pair_cosine"][1], made.mixture["pair_cosine"][0], made.null["pair_cosine"]):
        assert row[0] != row[1]
    samples = [3.0 * bent(z) for z in (noise, *np.split(fresh, multiples))]
    by_hand = np.array([[transport_cost(a, b).cost for a in samples] for b in samples])
    np.fill_diagonal(by_hand, np.nan)
    np.testing.assert_allclose(made.independent["e_ot"], by_hand, rtol=1e-9)
    assert made.floor == pytest.approx(by_hand[0, 1])
    np.testing.assert_allclose(made.independent["spread"], [np.trace(np.cov(x.T)) for x in samples])


@pytest.mark.parametrize("planted", [0.0, 10.0, 40.0, 75.0])
def test_a_planted_angle_is_read_back(in_six, planted):
    rng = np.random.default_rng(8)
    z = rng.normal(size=(1000, 6))
    student = bent(turned(z, random_basis(6, rng), planted))
    angle = measure(bent(z), student, calibration=in_six).metrics["remap_angle"]
    assert angle.value == pytest.approx(planted, abs=4.0)
    assert angle.low - 1e-9 <= planted <= angle.high + 1e-9
    assert angle.reason is None


@pytest.mark.parametrize("cosine", [-0.4, -0.02])
def test_nothing_left_reads_ninety_or_more(in_six, cosine):
    angle = remap_angle(in_six, cosine)
    assert (angle.value, angle.high) == (90.0, None)
    assert "90 degrees or more" in angle.reason


def test_what_is_unresolved_stays_unresolved(in_six):
    line = remap_angle(calibration(1, n=60), 0.5)  # one dimension has no plane to turn
    assert math.isnan(line.value)
    assert "d = 1" in line.reason
    assert "0 / 0" in remap_angle(in_six, Measured.unresolved("it is 0 / 0")).reason
    assert math.isnan(remap_angle(in_six, math.nan).value)
    assert math.isnan(remap_angle(in_six, Measured(0.5, -0.6, 1.0)).value)  # the sample is too small to say
    z = np.random.default_rng(9).normal(size=(50, 6))
    collapsed = measure(z, np.ones_like(z), calibration=in_six).metrics["remap_angle"]
    assert "collapsed" in collapsed.reason


def test_a_calibration_survives_npz_and_is_json_ready(in_six, tmp_path):
    np.savez(tmp_path / "calibration.npz", **in_six.to_arrays())
    with np.load(tmp_path / "calibration.npz", allow_pickle=False) as stored:
        restored = Calibration.from_arrays(stored)
    assert json.loads(json.dumps(in_six.to_dict(), allow_nan=False))["d"] == 6
    assert (restored.n, restored.d, restored.floor) == (in_six.n, in_six.d, in_six.floor)
    for key in METRICS:
        np.testing.assert_array_equal(restored.planted[key], in_six.planted[key])
        np.testing.assert_array_equal(restored.mixture[key], in_six.mixture[key])
    assert remap_angle(restored, 0.7) == remap_angle(in_six, 0.7)
    older = {name: array for name, array in in_six.to_arrays().items() if not name.endswith("local_cosine")}
    assert np.isnan(Calibration.from_arrays(older).curve("local_cosine")).all()
    with pytest.raises(InputError, match="no calibration"):
        Calibration.from_arrays({"n": np.array(3)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fresh_noise": np.zeros((30, 2))}, "at least 40"),
        ({"fresh_noise": np.zeros((60, 3))}, "must be"),
        ({"angles_degrees": (0.0, 45.0)}, "0 and 90"),
        ({"shares": (0.0, 0.5)}, "shares"),
        ({"bases": 0}, "bases"),
        ({"teacher_map": lambda z: z * np.nan}, "NaN"),
    ],
)
def test_wrong_calls_are_sentences(in_six, change, message):
    rng = np.random.default_rng(0)
    call = {"teacher_map": bent, "noise": rng.normal(size=(20, 2)), "fresh_noise": rng.normal(size=(40, 2))}
    with pytest.raises(InputError, match=message):
        calibrate(rng=rng, **(call | change))
    with pytest.raises(InputError, match="d = 6"):
        measure(np.eye(3), np.eye(3), calibration=in_six)
