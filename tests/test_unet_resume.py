"""Training on pictures with a U-Net, broken off and gone on: the same students, to the last bit on a CPU."""

import torch
from small import TINY, distillation, parameters

from dmdlab.experiments import load

WORDS = (
    *(word for word in TINY if not word.startswith(("network.", "student.batch"))),
    *("law.name=field", "law.side=4", "network.kind=unet", "network.channels=[4]", "network.depths=[1]"),
    *(
        "network.time_features=4",
        "student.iterations=200",
        "student.decay=cosine",
        "student.batch=2",
        "fake_score.updates=4",
        "seed=[0, 1]",
    ),
)


def test_200_iterations_are_100_and_100_more_by_another_loop() -> None:
    """What is kept in between lies in a file for every network alike, see `test_checkpoint.py`."""
    es = load(None, None, list(WORDS)).experiments()
    straight, resumed = distillation(es), distillation(es)
    start, half = parameters(resumed), straight.cycles // 2
    for _ in range(half):
        straight.cycle()
    resumed.restore({name: tensor.clone() for name, tensor in straight.state().items()})
    middle = parameters(resumed)
    for _ in range(half):
        straight.cycle()
        resumed.cycle()
    assert straight.done * 4 == resumed.done * 4 == 200
    for a, b, before, first in zip(parameters(resumed), parameters(straight), middle, start, strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, before)
        assert not torch.equal(before, first)
        assert not torch.equal(a[0], a[1])
