"""The U-Net's settings, sizes and costs, and as the network of an experiment."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small import CPU, cycle, group_of, law_of, parameters
from test_compiling import as_traced
from test_unet import Pictures, network
from torch._subclasses.fake_tensor import FakeTensorMode

from dmdlab.config import InputError, NetworkSpec
from dmdlab.device import repeated
from dmdlab.experiments import load, spelled_out
from dmdlab.lab.counting import Operations
from dmdlab.laws import LAWS, Gaussian
from dmdlab.networks import make_network
from dmdlab.networks.unet import UNet, UNetSettings
from dmdlab.training.distill import distillation_from


class Squares(Pictures):
    """The same by the dimension alone, as an experiment names it."""

    def __init__(self, dim: int) -> None:
        super().__init__(1, math.isqrt(dim))


# --- sizes and settings


def test_the_papers_network_has_31_million_parameters_and_4_billion_multiply_adds() -> None:
    """As many parameters as EDM's own implementation of ADM has with these settings, the preset's."""
    law, spec = Pictures(1, 28), load(None, "paper-pictures").experiments()[0].network
    with FakeTensorMode(), torch.no_grad(), Operations() as forward:
        paper = make_network(1, law, spec)
        paper(torch.zeros(1, 2, law.dim), torch.zeros(1, 1, 1))
    assert paper.flat.shape == (1, 31_118_593)
    assert 3.9e9 < forward.count / 2 / 2 < 4.4e9  # of a picture
    assert UNet(1, law, UNetSettings()).flat.shape == (1, 87_025)


def test_operations_are_counted_on_tensors_without_numbers() -> None:
    law, counts = Pictures(1, 8), []
    with FakeTensorMode(allow_non_fake_inputs=True):
        net, x = network(law, (0,), channels=[4], depths=[1]), torch.zeros(1, 2, law.dim)
        for rows in (1, 2):
            with Operations() as found:
                out = net(x[:, :rows], x[:, :rows, :1])
                torch.autograd.grad(out.sum(), list(net.parameters()))
            counts.append(found.count)
    assert counts[0] > 1e5
    assert counts[1] == pytest.approx(2 * counts[0], rel=1e-2)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"channels": [8, 8, 8]}, r"network\.channels has 3 levels and network\.depths has 2: give one number each"),
        ({"channels": [], "depths": []}, r"network\.channels has 0 levels"),
        ({"channels": [8, 0]}, r"network\.channels\.1: .*greater than or equal to 1, got 0"),
        ({"depths": [1, 1.5]}, r"network\.depths\.1: .*valid integer, got 1\.5"),
        ({"attention": 8}, r"network\.attention: .*valid list, got 8"),
        ({"attention": [7, 14]}, r"network\.attention is \[7, 14\].* at law\.side = 8 they are 8, 4, after padding"),
        ({"chanels": [8, 8]}, r"unknown key 'network\.chanels'; did you mean 'network.channels'"),
        ({"classes": 10}, r"unknown key 'network\.classes'"),
        ({"channels": [4] * 5, "depths": [1] * 5}, r"law\.side is 8, but a unet of 5 levels needs pictures of 16"),
    ],
)
def test_wrong_settings_are_refused_in_a_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        make_network(1, Pictures(), NetworkSpec(kind="unet", **wrong))


def test_a_law_without_pictures_of_some_size_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match=r"needs a law of pictures.*'gaussian' has the shape \(64,\): choose another"):
        make_network(1, Gaussian(dim=64), NetworkSpec(kind="unet"))
    with pytest.raises(InputError, match=r"law\.side is 3, but a unet of 2 levels needs pictures of 4 at least"):
        make_network(1, Pictures(1, 3), NetworkSpec(kind="unet"))


def test_lists_are_values_on_the_command_line_and_axes_in_a_sweeps_table(tmp_path: Path) -> None:
    (one,) = load(None, None, ["network.kind=unet", "network.channels=[8, 12]", "network.attention=[8]"]).experiments()
    assert one.network.parameters == {"channels": [8, 12], "attention": [8]}
    assert spelled_out(one)["network.depths"] == [1, 1]
    assert load(None, None, ["network.kind=unet", "network.depths=[1, 1]"]).experiments()[0].network.parameters == {}
    file = tmp_path / "widths.toml"
    file.write_text('network.kind = "unet"\n[sweep]\n"network.channels" = [[8, 8], [16, 16]]')
    assert [spelled_out(e)["network.channels"] for e in load(file).experiments()] == [[8, 8], [16, 16]]


# --- in a cycle


@pytest.mark.slow
def test_a_traced_cycle_is_the_eager_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LAWS, "squares", Squares)
    monkeypatch.setattr(repeated, "compiled", as_traced)
    words = ["law.name=squares", "law.dim=36", "network.kind=unet", "network.channels=[4, 4]", "student.batch=4"]
    words += [
        "network.time_features=4",
        "fake_score.updates=1",
        "teacher.kind=network",
        "student.init=random",
        "seed=[0, 1]",
    ]
    es = load(None, None, words).experiments()
    start = make_network(2, law_of(es[0]), es[0].network).initialise([torch.Generator().manual_seed(i) for i in (0, 1)])
    loops = [distillation_from(group_of(*es), law_of(es[0]), start.flat, CPU, way) for way in ("eager", "compiled")]
    for _ in range(2):
        eager, traced = map(cycle, loops)
        torch.testing.assert_close(traced, eager, rtol=1e-3, atol=1e-5)
    assert loops[1].way == "compiled"  # and not fallen back
    for a, b in zip(*map(parameters, loops), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
