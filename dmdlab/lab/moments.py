"""Networks kept on the way of a training, where a run is asked for it (`measure.keep`): what a page scrubs through."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.networks import Ensemble
from dmdlab.training.distill import Distillation


def kept_iterations(experiment: Experiment, curve: list[int]) -> list[int]:
    """The points of the training curve at which networks are kept, beside the start: the nearest ones to a spacing that
    grows with the iteration, the end among them, at most `measure.keep` - 1; none where nothing is to be kept."""
    keep, last = experiment.measure.keep, curve[-1]
    if keep == 0:
        return []
    wanted = last * np.linspace(0, 1, keep)[1:] ** 2
    return sorted({min(curve, key=lambda at: abs(at - own)) for own in wanted})


@dataclass
class Moments:
    """Students and fake scores of all members at some iterations, each (e, P), on the CPU; no fake score that is not a
    trained network.

    Attributes:
        due: the iterations that are still to come.
        iterations: those that are there.
        rows: by network ("student", "fake"), a matrix for each of them.
    """

    due: list[int]
    iterations: list[int] = field(default_factory=list)
    rows: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, iteration: int, distillation: Distillation) -> None:
        """Keep what stands at this iteration: the start, or where the next of `due` has come."""
        if not self.due or (iteration and iteration < self.due[0]) or iteration in self.iterations:
            return
        if iteration:
            self.due = [at for at in self.due if at > iteration]
        self.iterations.append(iteration)
        for name in ("student", "fake") if distillation.score.kind == "network" else ("student",):
            own = distillation.trained[name].parameters[:, : distillation.optimisers[name].network.flat.shape[1]]
            self.rows.setdefault(name, []).append(own.detach().cpu().clone())

    def state(self) -> dict[str, Tensor]:
        """All of it, for a checkpoint: each tensor with the members first."""
        if not self.iterations:
            return {}
        found = {f"moments.{name}": torch.stack(rows, dim=1) for name, rows in self.rows.items()}  # (e, m, P)
        place = torch.tensor(self.iterations).expand(len(next(iter(found.values()))), -1)
        return found | {"moments.iterations": place}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken."""
        if "moments.iterations" not in state:
            return
        self.iterations = state["moments.iterations"][0].tolist()
        self.due = [at for at in self.due if at > self.iterations[-1]]
        names = (name for name in ("student", "fake") if f"moments.{name}" in state)
        self.rows = {name: list(state[f"moments.{name}"].unbind(1)) for name in names}

    def of(self, index: int, network: Ensemble) -> dict[str, Tensor]:
        """One member's: "iteration" (m,), and "student.<parameter>", "fake.<parameter>", (m, ...) each; {} for none."""
        if not self.iterations:
            return {}
        found = {"iteration": torch.tensor(self.iterations)}
        for name, rows in self.rows.items():
            own, start = torch.stack([of_all[index] for of_all in rows]), 0  # (m, P)
            for parameter, p in network.named_parameters():
                stop = start + p[0].numel()
                found[f"{name}.{parameter}"] = own[:, start:stop].reshape(-1, *p.shape[1:]).contiguous()
                start = stop
        return found
