"""What several terms draw: levels and noise, and points of the law."""

import torch
from torch import Tensor

from dmdlab.randomness import generator
from dmdlab.training.draws import Source, streams
from dmdlab.training.points import points
from dmdlab.training.terms.term import Around


def noising(around: Around, term: str, batches: int) -> list[Source]:
    """Places of levels u (e, batches, n, 1), uniform, and unit noise eps (e, batches, n, d), of this term's streams."""
    n, d, device = around.group.shared.student.batch, around.law.dim, around.student.network.flat.device

    def level(g: torch.Generator, steps: int) -> Tensor:
        return torch.rand((steps, batches, n, 1), generator=g, device=device)

    def noise(g: torch.Generator, steps: int) -> Tensor:
        return torch.randn((steps, batches, n, d), generator=g, device=device)

    named = {"level": level, "noise": noise}
    return [Source(draw, streams(around.group, term, name, device=device)) for name, draw in named.items()]


def data(around: Around, term: str, batches: int) -> Source:
    """Points of the law (e, batches, n, d) and, for conditional members, their class labels (e, batches, n), of this
    term's stream: the teacher's own training set where it has one, else fresh ones."""
    shared, law, device = around.group.shared, around.law, around.student.network.flat.device
    n, config = shared.student.batch, shared.teacher
    generators = streams(around.group, term, "data", device=device)
    own = [generator(e.seed, "teacher", "data", device=device) for e in around.group.members]
    return points(law, config, own, generators, (batches, n))
