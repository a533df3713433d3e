"""The glossary: what each measure is, and how it reads. Axis labels, `dmdlab metrics` and the docs come from
here.

P are the teacher's outputs, G the student's, Q the teacher's at fresh noise; rows are samples at the same
noise. All costs are squared Euclidean, summed over coordinates and averaged over rows.
"""

from dataclasses import dataclass

# A student whose variance is below this share of the teacher's is *collapsed*. Pairing enters a cost only
# through the cross term 2 <P, G>, so at variance ratio v no pairing can move the cost by more than a share 2
# sqrt(v) / (1 + v) of it: one fifth at v = 0.01, where the student's standard deviation is a tenth of the
# teacher's. Below that, delta_e is near 0 for every pairing and would read "perfect copy".
COLLAPSED_VARIANCE_RATIO = 0.01

# From here on a fidelity counts as poor: the student's law costs half as much again as the teacher's own
# sampling noise, and a statement about its pairing is a statement about another law. A convention, drawn as
# hollow marks.
POOR_FIDELITY = 1.5


@dataclass(frozen=True)
class Metric:
    """One entry of the glossary.

    Attributes:
        key: the public name, as in records, tables and `--json`.
        label: axis label.
        definition: formula in plain text.
        reads_as: what a value says.
        best: the value of a perfect copy, None where there is none.
        chance: the value of a student with the teacher's law and no memory of the pairing, in words.
        needs: the arrays of `measure` that it is computed from.
    """

    key: str
    label: str
    definition: str
    reads_as: str
    best: float | None
    chance: str
    needs: tuple[str, ...] = ("teacher", "student")

    def chance_at(self, n: int) -> float | None:
        """The chance level as a number at sample size `n`, None where it depends on the laws."""
        try:
            return float(self.chance)
        except ValueError:
            numerator, _, denominator = self.chance.partition("/")
            return min(1.0, float(numerator) / n) if denominator == "n" else None


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric(
            "e_dt",
            "$E_{DT}$",
            "mean_i |P_i - G_i|^2",
            "cost of the shared-noise pairing",
            0.0,
            "e_independent",
        ),
        Metric(
            "e_ot",
            "$E_{OT}$",
            "min over permutations pi of mean_i |P_pi(i) - G_i|^2, exact",
            "cost of the best pairing of these n points",
            0.0,
            "depends on n and d",
        ),
        Metric(
            "delta_e",
            r"pairing inefficiency $\Delta_E$",
            "e_dt / e_ot - 1 (0 if both are 0)",
            "0 = no pairing of these points is cheaper than the shared noise; read it against its ceiling",
            0.0,
            "delta_e_ceiling",
        ),
        Metric(
            "e_independent",
            "cost of a random pairing",
            "mean over i != j of |P_j - G_i|^2",
            "cost if the student paired at random",
            None,
            "itself",
        ),
        Metric(
            "delta_e_ceiling",
            r"ceiling of $\Delta_E$",
            "e_independent / e_ot - 1",
            "the delta_e that a student with no memory of the pairing gets at this n and d",
            None,
            "itself",
        ),
        Metric(
            "copy_index",
            "copy index",
            "(e_independent - e_dt) / (e_independent - e_ot)",
            "1 = optimal pairing, 0 = random, below 0 = worse than random",
            1.0,
            "0",
        ),
        Metric(
            "pair_cosine",
            "pair cosine",
            "<Pc, Gc> / (|Pc| |Gc|), c = column-centred, all entries as one vector",
            "pairing agreement whatever the amplitude; meaningful for a collapsed student too",
            1.0,
            "0",
        ),
        Metric(
            "pair_auc",
            "pair AUC",
            "mean over i and j != i of [|P_j - G_i| > |P_i - G_i|], ties count 1/2",
            "0.5 = random (a constant student too), 1 = every output is nearest to its own teacher output",
            1.0,
            "0.5",
        ),
        Metric(
            "recall_at_1",
            "recall at 1",
            "share of i whose own teacher output is the nearest to G_i",
            "how often the partner is recognised at first sight; chance is 1/n",
            1.0,
            "1/n",
        ),
        Metric(
            "recall_at_10",
            "recall at 10",
            "share of i whose own teacher output is among the 10 nearest to G_i",
            "how often the partner is on the short list; chance is 10/n",
            1.0,
            "10/n",
        ),
        Metric(
            "identity_fraction",
            "identity fraction",
            "share of i that the optimal assignment leaves in place",
            "how many pairs the best pairing keeps; chance is 1/n",
            1.0,
            "1/n",
        ),
        Metric(
            "r2",
            "$R^2$",
            "1 - sum |P - G|^2 / sum |P - mean P|^2",
            "share of the teacher's variance explained at equal noise; -1 = random pairing, same law",
            1.0,
            "-1",
        ),
        Metric(
            "fidelity",
            "fidelity",
            "e_ot(Q, G) / e_ot(Q, P)",
            "1 = the student's law is indistinguishable at this n; a copying claim needs fidelity near 1",
            1.0,
            "1",
            ("teacher", "student", "reference"),
        ),
        Metric(
            "variance_ratio",
            "variance ratio",
            "trace cov G / trace cov P",
            "below 1: shrinking or dropped modes",
            1.0,
            "1",
        ),
        Metric(
            "remap_angle",
            "remap angle (degrees)",
            "the angle by which turning the noise in floor(d/2) random planes gives the same pair_cosine",
            "0 = a copy, 90 and more = nothing of the pairing left; means the same at every dimension",
            0.0,
            "90",
            ("teacher", "student", "calibration"),
        ),
    )
}
