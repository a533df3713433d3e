"""The training curves of a group: a row at each checkpoint, of what the training reports and of what the students do.

All columns but the training's own are made beside it, from the students' outputs at the noise that they are measured
at, and change nothing of it.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion.applied import applied
from dmdlab.pairing import assignment
from dmdlab.pairing.coverage import LAW_ROWS, Reach
from dmdlab.pairing.moments import RowMoments
from dmdlab.randomness import generator
from dmdlab.training.distill import Distillation
from dmdlab.training.draws import going_on
from dmdlab.training.lag import LEVELS, score_excess
from dmdlab.training.student import Student

SCORE_ROWS = 1024
"""Rows that the fake score is tried on at a checkpoint (ours)."""

OF_PAIRS, OF_LAWS = ("variance_ratio", "pair_cosine"), ("fidelity", "coverage", "lost")


def curve_iterations(experiment: Experiment) -> list[int]:
    """Log-spaced iterations of the training curve."""
    last = experiment.student.iterations
    return sorted({round(i) for i in np.geomspace(1, last, experiment.measure.checkpoints)})


class Curves:
    """The training curves of all members, a row each time.

    A row holds what the distillation reports, and of the students as they are: variance ratio and pair_cosine at
    `noise`, of classes `label` (e, n) or None and with `later` noises, against `teacher`; by the first `LAW_ROWS` rows
    fidelity, coverage and what is lost of the law in one piece against `reference` (`dmdlab.pairing.coverage`), and how
    far the last update moved the outputs, in root mean square over the teacher's spread (student_step); and their fake
    scores' excess risk (`dmdlab.training.lag`). Arrays are (e, n, d), on the CPU.
    """

    def __init__(
        self,
        distillation: Distillation,
        seeds: Sequence[int],
        noise: Tensor,
        teacher: Tensor,
        reference: Tensor,
        label: Tensor | None = None,
        later: Sequence[Tensor] = (),
    ) -> None:
        self.noise, self.teacher, self.label, self.later = noise, teacher.numpy(), label, later
        self.seeds, few = seeds, slice(LAW_ROWS)
        known = [(p.numpy(), q.numpy()) for p, q in zip(teacher[:, few], reference[:, few], strict=True)]
        self.reaches = [Reach.of(q) if np.isfinite(q).all() else None for _, q in known]
        self.floors = [_cost(q, p) for p, q in known]
        own = ("student_updates", "student_step", "score_excess", *OF_PAIRS, *OF_LAWS)
        self.columns_of_all = ("iteration", *distillation.numbers, *own)
        self.rows: list[dict[str, np.ndarray]] = []
        self.before = np.full_like(self.teacher[:, few], np.nan)

    def look(self, distillation: Distillation) -> None:
        """See the students one update before a row."""
        self.before = self._outputs(distillation.student, LAW_ROWS)

    def _outputs(self, student: Student, rows: int | None = None) -> np.ndarray:
        """The students' outputs at the first `rows` of the noise, (e, rows, d)."""
        few, device = slice(rows), student.network.flat.device
        label, later = None if self.label is None else self.label[:, few], [part[:, few] for part in self.later]
        return applied(student, self.noise[:, few], device, label, later).numpy()

    def add(self, distillation: Distillation) -> None:
        """Append a row: what the distillation reports, and its students as they are now."""
        report, outputs = distillation.report(), self._outputs(distillation.student)
        row = {"iteration": np.full(len(outputs), report.iteration)}
        row |= {name: value.cpu().numpy() for name, value in report.numbers.items()}
        row["student_updates"] = np.full(len(outputs), float(distillation.done))
        row["score_excess"] = self._excess(outputs, distillation)
        with np.errstate(all="ignore"):  # a failed member's outputs are not finite; its numbers are recorded as such
            totals = [RowMoments.of(p, g).total() for p, g in zip(self.teacher, outputs, strict=True)]
            row["variance_ratio"] = np.array([float(t.variance_ratio) for t in totals])
            row["pair_cosine"] = np.array([float(t.pair_cosine) for t in totals])
            moved = (outputs[:, :LAW_ROWS] - self.before).astype(np.float64)
            spread = self.teacher.astype(np.float64).var(axis=1).mean(axis=1)  # (e,)
            row["student_step"] = np.sqrt((moved**2).mean(axis=(1, 2)) / spread)
        laws = np.array([self._law(i, own[:LAW_ROWS]) for i, own in enumerate(outputs)])
        row |= dict(zip(OF_LAWS, laws.T, strict=True))
        self.rows.append({name: row[name] for name in self.columns_of_all})

    def _law(self, i: int, outputs: np.ndarray) -> tuple[float, float, float]:
        """Member i's fidelity, coverage and what is lost in one piece."""
        reach = self.reaches[i]
        if reach is None or not np.isfinite(outputs).all():
            return math.nan, math.nan, math.nan
        floor = self.floors[i]
        return (_cost(reach.reference, outputs) / floor if floor > 0 else math.nan, *reach.read(outputs))

    def _excess(self, outputs: np.ndarray, own: Distillation) -> np.ndarray:
        """The fake scores' excess risk (e,); NaN without one, or with too few rows."""
        x = torch.from_numpy(outputs[:, :SCORE_ROWS])
        if own.score.kind != "network" or x.shape[1] < 4 * LEVELS:
            return np.full(len(outputs), math.nan)
        _, n, d = x.shape
        eps = torch.stack([torch.randn(n, d, generator=generator(seed, "curve noise")) for seed in self.seeds])
        label, device = None if self.label is None else self.label[:, :n].to(own.device), own.device
        bounds, sigma_data = own.config.levels, own.fake.sigma_data
        found = score_excess(own.fake, own.teacher, x.to(device), eps.to(device), bounds, own.noise, sigma_data, label)
        return found.cpu().numpy()

    def state(self) -> dict[str, Tensor]:
        """All rows so far, one at least, each column (e, rows), for a checkpoint."""
        columns = {f"curve.{name}": np.stack([row[name] for row in self.rows], axis=1) for name in self.rows[0]}
        return {name: torch.from_numpy(column) for name, column in columns.items()} | {
            "curve before": torch.from_numpy(self.before)
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from where `state` was taken. Raises `Foreign` where it is another training's."""
        with going_on():
            self.before = state["curve before"].numpy()
            columns = {name: state[f"curve.{name}"].numpy() for name in self.columns_of_all}
            rows = range(columns["iteration"].shape[1])
            self.rows = [{name: column[:, j] for name, column in columns.items()} for j in rows]

    def columns(self, i: int) -> dict[str, list[float]]:
        """Member i's curve by column."""
        return {name: [float(row[name][i]) for row in self.rows] for name in self.rows[0]}

    def text(self) -> str:
        """The last row's means in a few words."""
        if not self.rows:
            return ""
        last = self.rows[-1]
        well = np.isfinite(last["variance_ratio"])
        if not well.any():
            return "every member has failed"
        ratio, cosine = (float(last[key][well].mean()) for key in ("variance_ratio", "pair_cosine"))
        return f"variance ratio {ratio:.2f}, cosine {cosine:.2f}"


def _cost(a: np.ndarray, b: np.ndarray) -> float:
    """The cost of matching two clouds (m, d); NaN where one is not finite."""
    return assignment(a, b).cost if np.isfinite(a).all() and np.isfinite(b).all() else math.nan
