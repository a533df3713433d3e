"""The glossary: what each measure is, the range it lives in, what chance gives, and how it reads and is drawn.

Axis labels, guide lines, verdicts, `dmdlab metrics` and the docs come from here. P are the teacher's outputs, G the
student's, Q the teacher's at fresh noise; rows are samples at the same noise. All costs are squared Euclidean, summed
over coordinates and averaged over rows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from dmdlab.pairing.measured import Measured

# A student whose variance is below this share of the teacher's is *collapsed*. Pairing enters a cost only through the
# cross term 2 <P, G>, so at variance ratio v no pairing can move the cost by more than a share 2 sqrt(v) / (1 + v) of
# it: one fifth at v = 0.01, where the student's standard deviation is a tenth of the teacher's. Below that, delta_e is
# near 0 for every pairing and would read "perfect copy".
COLLAPSED_VARIANCE_RATIO = 0.01

# Where no calibration says where equal laws fall (see `law`), a fidelity outside these two counts as poor, and a
# statement about the student's pairing is a statement about another law. Above, its law costs half as much again as the
# teacher's own sampling noise (a convention). Below, it costs *less* to match than the teacher's own fresh samples do,
# as a student that shrinks towards the mean does (a constant one about half, in high dimension) and no student of the
# right law beyond sampling noise.
POOR_FIDELITY = 1.5
LOW_FIDELITY = 0.8

# A teacher is flagged that adds more than a tenth to the risk nobody can avoid, or whose outputs cost more than half as
# much again to match with data as fresh data does (ours; the second as poor fidelity).
MAX_EXCESS_RISK = 0.10
MAX_TRANSPORT_RATIO = 1.5


@dataclass(frozen=True)
class Metric:
    """One entry of the glossary.

    Attributes:
        key: the public name, as in records, tables and `--json`.
        label: axis label.
        definition: formula in plain text.
        reads_as: what a value says.
        chance_in_words: what a student of the teacher's law with no memory of the pairing gets, where it is no number.
        best: the value of a perfect copy, None where there is none.
        lowest, highest: the range of possible values.
        chance_level: chance as a number, where it is the same for every law and sample size.
        chance_rows: for a share of recognised rows, how many of the n chance recognises: on average, and at most in
            98 % of the samples (their number is nearly Poisson).
        title: how to read it in a few words, over a panel.
        guides: values that a figure marks by a line, each with the line's name.
        scale: of a figure's axis; "zero_log" is logarithmic and ends in a linear part that holds 0.
        needs: of a measure that two arrays of outputs do not give: what it needs besides, as a reason.
    """

    key: str
    label: str
    definition: str
    reads_as: str
    chance_in_words: str = ""
    best: float | None = None
    lowest: float = 0.0
    highest: float = math.inf
    chance_level: float | None = None
    chance_rows: tuple[int, int] | None = None
    title: str = ""
    guides: tuple[tuple[float, str], ...] = ()
    scale: Literal["linear", "zero_log"] = "linear"
    needs: str = ""

    @property
    def chance(self) -> str:
        """The chance level in words."""
        return f"{self.chance_rows[0]}/n" if self.chance_rows else self.chance_in_words or f"{self.chance_level:g}"

    def chance_at(self, n: int) -> float | None:
        """The chance level as a number at sample size `n`, None where it depends on the laws."""
        return min(1.0, self.chance_rows[0] / n) if self.chance_rows else self.chance_level

    @property
    def bounds(self) -> tuple[float, float]:
        """The range of possible values."""
        return self.lowest, self.highest


_up_to_one = partial(Metric, best=1.0, highest=1.0)

METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(
            "e_dt", "$E_{DT}$", "mean_i |P_i - G_i|^2", "cost of the shared-noise pairing", "e_independent", best=0.0
        ),
        Metric(
            "e_ot",
            "$E_{OT}$",
            "min over permutations pi of mean_i |P_pi(i) - G_i|^2",
            "cost of the best pairing of these n points, to a millionth of itself where no bounds are told",
            "depends on n and d",
            best=0.0,
        ),
        Metric(
            "delta_e",
            r"pairing inefficiency $\Delta_E$",
            "e_dt / e_ot - 1 (0 if both are 0)",
            "0 = no pairing of these points is cheaper than the shared noise; read it against its ceiling",
            "delta_e_ceiling",
            best=0.0,
            title="0 = as good as optimal",
            scale="zero_log",
        ),
        Metric(
            "e_independent",
            "cost of a random pairing",
            "mean over i != j of |P_j - G_i|^2",
            "cost if the student paired at random",
            "itself",
        ),
        Metric(
            "delta_e_ceiling",
            r"ceiling of $\Delta_E$",
            "e_independent / e_ot - 1",
            "the delta_e that a student with no memory of the pairing gets at this n and d",
            "itself",
            scale="zero_log",
        ),
        _up_to_one(
            "copy_index",
            "copy index",
            "(e_independent - e_dt) / (e_independent - e_ot)",
            "1 = optimal pairing, 0 = random, below 0 = worse than random",
            lowest=-math.inf,
            chance_level=0.0,
            title="1 = optimal, 0 = random",
            guides=((1.0, "optimal"), (0.0, "random")),
        ),
        _up_to_one(
            "pair_cosine",
            "pair cosine",
            "<Pc, Gc> / (|Pc| |Gc|), c = column-centred, all entries as one vector",
            "pairing agreement whatever the amplitude; meaningful for a collapsed student too",
            lowest=-1.0,
            chance_level=0.0,
            title="1 = same pairing, 0 = none",
            guides=((1.0, ""), (0.0, "chance")),
        ),
        _up_to_one(
            "pair_auc",
            "pair AUC",
            "mean over i and j != i of [|P_j - G_i| > |P_i - G_i|], ties count 1/2",
            "0.5 = random (a constant student too), 1 = every output is nearest to its own teacher output",
            chance_level=0.5,
            title="1 = partner nearest",
            guides=((1.0, ""), (0.5, "chance")),
        ),
        _up_to_one(
            "recall_at_1",
            "recall at 1",
            "share of i whose own teacher output is the nearest to G_i",
            "how often the partner is recognised at first sight; chance is 1/n",
            chance_rows=(1, 3),
        ),
        _up_to_one(
            "recall_at_10",
            "recall at 10",
            "share of i whose own teacher output is among the 10 nearest to G_i",
            "how often the partner is on the short list; chance is 10/n",
            chance_rows=(10, 17),
        ),
        _up_to_one(
            "identity_fraction",
            "identity fraction",
            "share of i that the optimal assignment leaves in place; of several as cheap the one that keeps most",
            "how many pairs the best pairing keeps; chance is 1/n, and more where rows repeat or lie on a lattice: "
            "then the least that a pairing as cheap keeps is given, too, for up to 1500 rows",
            chance_rows=(1, 3),
        ),
        _up_to_one(
            "r2",
            "$R^2$",
            "1 - sum |P - G|^2 / sum |P - mean P|^2",
            "share of the teacher's variance explained at equal noise; -1 = random pairing, same law",
            lowest=-math.inf,
            chance_level=-1.0,
        ),
        Metric(
            "fidelity",
            "fidelity",
            "e_ot(Q, G) / e_ot(Q, P)",
            "1 = the student's law is indistinguishable at this n; below 1 for one that shrank: a copying claim needs "
            "it inside its null on both sides",
            best=1.0,
            chance_level=1.0,
            guides=((LOW_FIDELITY, ""), (1.0, "the teacher's law"), (POOR_FIDELITY, "poor")),
        ),
        Metric(
            "debiased_cost",
            "debiased transport cost",
            "(e_ot(Q, G) - (e_ot(Q, Q') + e_ot(G, G')) / 2) / trace cov P, between random halves of Q and of G",
            "0 = the same law, in any dimension; above 0 for one that shrank or lost modes, too; a share of the spread",
            "0 for the teacher's law",
            best=0.0,
            lowest=-math.inf,
            guides=((0.0, "the teacher's law"),),
        ),
        Metric(
            "variance_ratio",
            "variance ratio",
            "trace cov G / trace cov P",
            "below 1: shrinking or dropped modes",
            best=1.0,
            chance_level=1.0,
            guides=((1.0, ""),),
        ),
        Metric(
            "remap_angle",
            "remap angle (degrees)",
            "the angle by which turning the noise in floor(d/2) random planes gives the same pair_cosine",
            "0 = a copy, 90 and more = nothing of the pairing left; means the same at every dimension",
            best=0.0,
            title="0 = a copy",
            highest=90.0,
            chance_level=90.0,
            guides=((0.0, ""), (90.0, "nothing left")),
        ),
        _up_to_one(
            "local_cosine",
            "local cosine",
            "mean over z and random directions v of <J_G v, J_P v> / (|J_G v| |J_P v|), J the maps' Jacobians at z",
            "how alike the maps answer a small change of the noise: 1 = in the same direction, 0 = unrelated; needs no "
            "n, does not saturate in d; says nothing of the law, nor of where the outputs lie",
            lowest=-1.0,
            chance_level=0.0,
            title="1 = same map nearby",
            guides=((1.0, ""), (0.0, "unrelated")),
            needs="it needs how both maps answer small changes of the noise (teacher_differences, student_differences)",
        ),
        Metric(
            "local_gain",
            "local gain",
            "exp of the mean over z and v of log (|J_G v| / |J_P v|), a geometric mean",
            "sensitivity to the noise kept (1), lost (below) or gained; a student that only turned the noise keeps it",
            best=1.0,
            chance_level=1.0,
            guides=((1.0, "the teacher's"),),
            needs="it needs how both maps answer small changes of the noise (teacher_differences, student_differences)",
        ),
        _up_to_one(
            "rotation_explained",
            "explained by one turn",
            "(c_R - c) / (1 - c): c the pair_cosine of G with P(z), c_R with P(z R), R = polar(C_G C_P^T) fitted on at "
            "least 50 d other rows, C_G = E[z^T G], C_P = E[z^T P]",
            "share of the lost pairing that one orthogonal turn of the noise gives back: 1 = it only turned, 0 = it "
            "scrambled; read it against an exactly turned teacher, which reads below 1 for a finite fit",
            lowest=-math.inf,
            chance_level=0.0,
            guides=((1.0, "turned"), (0.0, "scrambled")),
            needs="it needs the teacher's map, and the student at 50 d more noise vectors (a run: measure.turns=true)",
        ),
        Metric(
            "pair_cosine_gaussian",
            "pair cosine of the Gaussian",
            "pair_cosine of P with the flow of N(mean, C) at the same noise, C the covariance of P's law",
            "how much of the teacher's pairing its covariance alone fixes: context, no threshold; 1 for a Gaussian law",
            lowest=-1.0,
            highest=1.0,
            chance_level=0.0,
            needs="it needs the noise, its sigma_max and the covariance of the law (pair_cosine_gaussian)",
        ),
        Metric(
            "pair_cosine_teachers",
            "pair cosine of two teachers",
            "pair_cosine of P with another seed's teacher at the same noise",
            "how much of the pairing any training on this law arrives at: context, no threshold",
            lowest=-1.0,
            highest=1.0,
            chance_level=0.0,
            needs="it needs the outputs of another teacher of this law at the same noise (other_teacher)",
        ),
    )
}

# The measures that depend on the pairing through <Pc, Gc> alone, and all measures of the pairing.
THROUGH_THE_COSINE = ("delta_e", "copy_index", "pair_cosine", "r2")
PAIRING_KEYS = (*THROUGH_THE_COSINE, "pair_auc", "recall_at_1", "recall_at_10", "identity_fraction")


def chance_values(value: Mapping[str, float], n: int) -> dict[str, float]:
    """What each pairing measure reads on average when these very points are paired at random.

    Args:
        value: key -> value of the sample as it is paired.
        n: its pairs.
    """
    chance = {key: METRICS[key].chance_at(n) for key in PAIRING_KEYS}
    spread = value["e_dt"] / (1.0 - value["r2"]) if value["r2"] < 1 else None  # mean |P_i - mean P|^2
    r2 = 1.0 - value["e_independent"] / spread if spread else -value["variance_ratio"]
    known = chance | {"delta_e": value["delta_e_ceiling"], "r2": r2}
    return {key: math.nan if x is None else x for key, x in known.items()}


def unasked() -> dict[str, Measured]:
    """The measures that two arrays of outputs do not give, each with what it needs as the reason."""
    return {key: Measured.unresolved(metric.needs) for key, metric in METRICS.items() if metric.needs}


def has_inputs(key: str, measured: Measured) -> bool:
    """Whether what this measure needs besides the outputs was there."""
    return not METRICS[key].needs or measured.reason != METRICS[key].needs
