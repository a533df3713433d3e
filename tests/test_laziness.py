"""Weight movement and kernel change against kernels written out; alone as among others, in blocks as at once."""

import itertools

import pytest
import torch
from small import experiment, group_of, law_of, start_denoiser
from torch import Tensor
from torch.func import functional_call, jacrev

from dmdlab.config import Experiment, experiment_from
from dmdlab.lab.counting import LiveBytes
from dmdlab.pairing.context_in_words import laziness_in_words
from dmdlab.training.laziness import PROBES, kernel_products, laziness
from dmdlab.training.student import Student, starting_student

SHAPES: dict[str, dict[str, object]] = {
    "residual": {"network__width": 8},
    "rotated": {"network__width": 8, "student__init": "rotated"},
    "steps": {"network__width": 8, "student__init": "rotated", "student__steps": 3, "student__sampler": "ode"},
}
CONVOLUTIONAL = {"law.name": "field", "law.side": 4, "law.dim": 16, "network.kind": "unet",
                 "network.channels": [4, 4], "network.depths": [1, 1], "network.attention": [2]}  # fmt: skip
UNETS = {"unet": CONVOLUTIONAL, "unet steps": CONVOLUTIONAL | {"student.steps": 2, "student.sampler": "ode"}}


def starts(*own: Experiment) -> list[Student]:
    """Students at the start from random networks, and from others."""
    rows = [start_denoiser(own, name).network.flat for name in ("network", "another")]
    return [starting_student(group_of(*own), law_of(own[0]), r, "cpu") for r in rows]


def students(*seeds: int, **settings: object) -> list[Student]:
    return starts(*(experiment(seed=s, **settings) for s in seeds))


def noise(e: int, d: int, n: int = 5) -> Tensor:
    return 80 * torch.randn(e, n, d, generator=torch.Generator().manual_seed(1))


def kernel(student: Student, z: Tensor) -> Tensor:
    """J J^T of each member, (e, n d, n d), written out."""
    parameters = {name: p.detach() for name, p in student.named_parameters()}
    found = []
    for i in range(len(z)):
        by_name = jacrev(lambda theta, i=i: functional_call(student, theta, (z,))[i].flatten())(parameters)
        j = torch.cat([part[:, i].flatten(1) for part in by_name.values()], dim=1)
        found.append(j @ j.T)
    return torch.stack(found)


@pytest.mark.parametrize(("shape", "rows"), [*itertools.product([*SHAPES, "unet"], [2, 5]), ("unet steps", 2)])
def test_a_kernels_products_are_those_of_the_kernel_written_out(shape: str, rows: int) -> None:
    student = (starts(experiment_from(UNETS[shape])) if shape in UNETS else students(0, 1, **SHAPES[shape]))[0]
    z = noise(1, 16) if shape in UNETS else noise(2, 4)
    r = torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
    expected = (kernel(student, z) @ r.flatten(1).unsqueeze(2)).view_as(z)
    torch.testing.assert_close(kernel_products(student, z, r[None], None, rows)[0], expected, rtol=1e-3, atol=1e-4)


def test_a_kernel_of_several_steps_holds_the_graph_of_one() -> None:
    peaks = []
    for steps in (1, 4):
        student, z = students(0, student__steps=steps, student__sampler="ode", network__depth=4)[0], noise(1, 4, 256)
        with LiveBytes() as seen:
            kernel_products(student, z, z[None], None, 256)
        peaks.append(seen.peak)
    assert peaks[1] < 1.3 * peaks[0]  # 2.9 with the graphs of all


def test_the_change_is_near_that_of_the_kernels_written_out() -> None:
    before, after = students(0, 1, network__width=8)
    z = noise(2, 4)
    a, b = kernel(before, z).double(), kernel(after, z).double()
    cosine = (a * b).sum((1, 2)) / (a.norm(dim=(1, 2)) * b.norm(dim=(1, 2)))
    found = laziness((0, 1), before, after, z)
    torch.testing.assert_close(found["kernel_change"], 1 - cosine, rtol=0, atol=0.5 / PROBES**0.5)
    assert (found["kernel_change"] > 0.01).all()
    moved = (after.network.flat - before.network.flat).norm(dim=1) / before.network.flat.norm(dim=1)
    torch.testing.assert_close(found["weight_movement"].float(), moved)


def test_a_student_that_did_not_move_has_moved_by_nothing_and_a_larger_one_kept_its_kernel() -> None:
    before, after = students(0)
    assert [x.tolist() for x in laziness((0,), before, before, noise(1, 4)).values()] == [[0.0], [0.0]]
    after.network.load_rows(before.network.flat)
    with torch.no_grad():
        after.network.out.weight.mul_(1.1)  # changes the kernel, by little
    found = laziness((0,), before, after, noise(1, 4))
    assert 0 < found["kernel_change"].item() < 0.05
    assert 0 < found["weight_movement"].item() < 0.1


def test_a_member_reads_the_same_alone_and_among_others() -> None:
    (before, after), (one, other) = students(0, 1), students(1)
    z = noise(2, 4)
    together = laziness((0, 1), before, after, z)
    for key, value in laziness((1,), one, other, z[1:]).items():
        torch.testing.assert_close(together[key][1:], value, rtol=1e-6, atol=1e-9)


def test_the_first_points_are_probed_with_their_own_classes_and_later_noises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dmdlab.training.laziness.PROBES", 1)
    before, after = students(0, network__width=8, student__steps=2, teacher__condition=True)
    z, label = noise(1, 4, 6), torch.arange(6)[None] % 4
    later = torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(3))
    few = laziness((0,), before, after, z[:, :4], label[:, :4], 4, [later[:, :4]])["kernel_change"]
    monkeypatch.setattr("dmdlab.training.laziness.POINTS", 4)
    found = laziness((0,), before, after, z, label, 2, [later])["kernel_change"]
    torch.testing.assert_close(found, few, rtol=1e-4, atol=1e-6)
    other = laziness((0,), before, after, z, label.flip(1), 2, [later.flip(1)])["kernel_change"]
    assert (other - found).abs() > 1e-4


def test_the_reading_says_how_lazily() -> None:
    (sentence,) = laziness_in_words({"weight_movement": 0.123, "kernel_change": 0.02})
    assert "its weights moved by 12 % of their length" in sentence
    assert "changed by 0.02 (kernel_change" in sentence
    assert laziness_in_words({}) == []
