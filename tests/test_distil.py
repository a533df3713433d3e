"""A teacher of one's own, through the lab."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.lab.distil import distil
from dmdlab.laws import make_law
from dmdlab.laws.registered import SHARES, register

TINY = {"student.iterations": 20, "student.batch": 16, "teacher.iterations": 20, "teacher.batch": 16}
TINY |= {"network.width": 8, "measure.samples": 40, "teacher.steps": 4, "measure.checkpoints": 2, "measure.bases": 2}
MIXTURE = make_law({"name": "mixture", "dim": 4})
DATA = MIXTURE.sample(200, torch.Generator().manual_seed(0))
GUIDE = (Path(__file__).parents[1] / "docs" / "own-teacher.md").read_text(encoding="utf-8")


def own(x: Tensor, sigma: Tensor) -> Tensor:
    """The mixture's denoiser in the shape of somebody else's."""
    return MIXTURE.denoise(x.flatten(1), sigma.flatten(1)).view_as(x)


def test_it_gives_what_the_same_teacher_from_the_catalogue_gives(tmp_path: Path) -> None:
    """Its pairing is the denoiser's own flow; the student that is handed out is the one that was measured."""
    found = distil(own, (2, 2), data=DATA.view(-1, 2, 2), settings=TINY, out=tmp_path)
    arrays = {name: torch.from_numpy(array) for name, array in found.record.arrays().items()}
    z = arrays["noise"].view(-1, 2, 2)
    torch.testing.assert_close(found.student(z).flatten(1), arrays["student"], rtol=0, atol=1e-6)
    from dmdlab.config import NoiseConfig
    from dmdlab.diffusion import flow, karras_grid

    ours = flow(MIXTURE.denoise, arrays["noise"], karras_grid(4, NoiseConfig()))
    torch.testing.assert_close(arrays["teacher"], ours, rtol=1e-4, atol=1e-4)
    assert found.record.row["pair_cosine"] is not None
    assert found.record.row["law_sigma_data"] == pytest.approx(float((DATA - DATA.mean(0)).square().mean().sqrt()))
    again = distil(own, (2, 2), data=DATA.view(-1, 2, 2), settings=TINY, out=tmp_path)
    assert again.record.row["id"] == found.record.row["id"]
    assert len(list((tmp_path / "runs").iterdir())) == 1  # found, not made again


def test_any_start_is_handed_out_trained(tmp_path: Path) -> None:
    for init in ("random", "rotated"):
        found = distil(own, (4,), data=DATA, sigma_data=2.0, settings=TINY | {"student.init": init}, out=tmp_path)
        assert found.record.row["law_sigma_data"] == 2.0
        arrays = found.record.arrays()
        outputs = found.student(torch.from_numpy(arrays["noise"]))
        torch.testing.assert_close(outputs, torch.from_numpy(arrays["student"]), rtol=0, atol=1e-6)


def test_other_data_or_another_spread_are_another_teacher() -> None:
    digests = {register(own, (4,), spread, data) for spread in (1.0, 2.0) for data in (DATA, DATA[:100])}
    assert len(digests) == 4


def test_its_derivatives_are_there() -> None:
    """What the flow's Jacobian reads is that of the same law from the catalogue."""
    law = make_law({"name": "registered", "dim": 4, "digest": register(own, (4,), 1.0, DATA)})
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    both = [torch.autograd.grad(each.denoise(x, 0.7).sum(), x)[0] for each in (law, MIXTURE)]
    torch.testing.assert_close(*both)


def test_without_data_the_flow_draws_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("dmdlab.lab.distil.DRAWN", 200)
    found = distil(own, (4,), settings=TINY, out=tmp_path)
    law = make_law({"name": "registered", "dim": 4, "digest": found.record.config["law.digest"]})
    assert law.sigma_data == pytest.approx(MIXTURE.sigma_data, rel=0.2)


def test_the_parts_of_its_data_are_disjoint() -> None:
    law = make_law({"name": "registered", "dim": 4, "digest": register(own, (4,), 1.0, DATA)})
    g = torch.Generator().manual_seed(0)
    parts = {part: {tuple(row) for row in law.sample(40, g, part).tolist()} for part in SHARES}
    assert len(parts["measure"]) == len(parts["reference"]) == 40
    assert not parts["train"] & (parts["measure"] | parts["reference"])
    assert not parts["measure"] & parts["reference"]
    with pytest.raises(InputError, match="holds 50"):
        law.sample(51, g, "measure")


def _random(x: Tensor, sigma: Tensor) -> Tensor:
    return x + torch.randn_like(x)


REFUSED: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "dropout": (_random, "again"),
    "batch norm": (lambda x, s: x - x.mean(0), "beside it"),
    "another shape": (lambda x, s: x[:, :2], r"\(8, 2\)"),
    "no tensor": (lambda x, s: 3.0, "float"),
    "not finite": (lambda x, s: x / 0, "NaN or infinity"),
    "no derivatives": (lambda x, s: own(x, s).detach(), "differentiated"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_denoiser_whose_flow_is_no_map_is_refused(name: str) -> None:
    answer, said = REFUSED[name]
    with pytest.raises(InputError, match=said):
        distil(answer, (4,), data=DATA, settings=TINY)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for data, shape, said in ((DATA, (3,), "shape"), (DATA[:5], (4,), "8 or more"), (DATA * float("nan"), (4,), "NaN")):
        with pytest.raises(InputError, match=said):
            distil(own, shape, data=data, settings=TINY)
    for settings, said in (({"law.dim": 3}, "not free"), ({"student.bach": 3}, "student.batch")):
        with pytest.raises(InputError, match=said):
            distil(own, (4,), data=DATA, settings=settings)
    with pytest.raises(InputError, match=r"measure\.samples"):
        distil(own, (4,), data=DATA, settings=TINY | {"measure.samples": 51})
    with pytest.raises(InputError, match="again"):
        make_law({"name": "registered", "dim": 4, "digest": "nobody's"})
    with pytest.raises(InputError, match="diverged"):
        distil(own, (4,), data=DATA, settings=TINY | {"student.learning_rate": 1e30, "student.clip": 0}, out=tmp_path)


def test_the_code_of_its_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    small = "\n".join(f'    "{key}": {value},' for key, value in TINY.items())
    exec(block.replace("    # sizes", small).replace("20_000", "200"), {})
    assert "degrees" in capsys.readouterr().out
