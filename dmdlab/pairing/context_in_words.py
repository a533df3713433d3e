"""What more than the pairs adds to a reading: nearby answers, one turn of the noise, baselines, how lazily a student
was trained, what was too short, and the data's law."""

import math
from collections.abc import Mapping
from typing import Any

from dmdlab.pairing.measured import Measured
from dmdlab.pairing.words import percent, spoken


def beyond_the_pairs_in_words(metrics: Mapping[str, Measured]) -> list[str]:
    """Sentences on those of local_cosine, local_gain, rotation_explained and the baselines that are resolved."""
    value = {key: measured.value for key, measured in metrics.items() if measured.resolved}
    sentences = []
    if "local_cosine" in value and "local_gain" in value:
        sentences.append(
            f"Where the noise changes a little, the student's answer has {spoken(value['local_gain'])} times the "
            f"length of the teacher's (local_gain) and a cosine of {spoken(value['local_cosine'])} with it "
            "(local_cosine), where 1 is a copy and 0 is unrelated."
        )
    elif "local_gain" in value:
        sentences.append("Where the noise changes a little, the student's output does not (local_gain 0).")
    if "rotation_explained" in value:
        sentences.append(
            f"One orthogonal turn of the noise gives back {percent(value['rotation_explained'])} of the pairing that "
            "was lost (rotation_explained); read it against what an exactly turned teacher gives back at the same fit."
        )
    baselines = {"pair_cosine_gaussian": "a Gaussian of the same covariance", "pair_cosine_teachers": "another teacher"}
    if told := [f"{spoken(value[key])} for {name} ({key})" for key, name in baselines.items() if key in value]:
        sentences.append(f"For context, pair_cosine with the same teacher: {', '.join(told)}.")
    return sentences


def turns_in_words(turns: Mapping[str, float]) -> list[str]:
    """A sentence on what an exactly turned teacher reads at a run's own fit. turns: the record's section."""
    planted = {key.removeprefix("planted_"): x for key, x in turns.items() if key.startswith("planted_") and x == x}
    if not planted:
        return []
    told = " and ".join(f"{percent(share)} at {angle} degrees" for angle, share in planted.items())
    return [f"One turn gives back {told} to the teacher itself when its noise was turned by so much."]


def laziness_in_words(student: Mapping[str, float]) -> list[str]:
    """A sentence on how lazily a student was trained. student: the record's section."""
    if math.isnan(moved := student.get("weight_movement", math.nan)):
        return []
    return [
        f"In training its weights moved by {percent(moved)} of their length, and its tangent kernel changed by "
        f"{spoken(student['kernel_change'])} (kernel_change: 0 is lazy training, 1 an unrelated kernel)."
    ]


def warmup_in_words(trained: Mapping[str, tuple[int, int]]) -> list[str]:
    """Sentences on trainings that ended within their warm-up. trained: of each, by the key of its warm-up, how many
    iterations it took and how many its warm-up takes."""
    return [
        f"A learning rate never came to what is set: training ended after {taken} of the {warmup} iterations of its "
        f"warm-up ({key}), at {percent(taken / warmup)} of it."
        for key, (taken, warmup) in trained.items()
        if taken < warmup
    ]


def own_in_words(init: str, own: Mapping[str, Measured]) -> list[str]:
    """A sentence on what a student kept of the pairing that it started with, where that is not the teacher's own start.

    init: the start's name. own: `OwnPairing.measured`.
    """
    angle = own["angle"]
    if init == "teacher" or not angle.resolved:
        return []
    least = f"{spoken(angle.value)} degrees" + (" or more" if angle.reason else "")
    return [f"It lost as much of its own pairing ({init}) as a turn of its noise by {least} loses (own_angle)."]


def steps_in_words(steps: Mapping[str, Measured]) -> list[str]:
    """Sentences on a student of several steps. steps: `StepOutputs.measured`."""
    first, redrawn, agreement = (steps[key] for key in ("first_pair_cosine", "redrawn_pair_cosine", "redraw_agreement"))
    sentences = ["All of this is about the student's whole map, with its later noises held fixed."] * redrawn.resolved
    if first.resolved:
        sentences.append(f"Its first step alone has a pair_cosine of {spoken(first.value)} (steps_first_pair_cosine).")
    if redrawn.resolved and agreement.resolved:
        most = math.sqrt(max(0.0, agreement.value))
        sentences.append(
            f"With later noises drawn anew pair_cosine is {spoken(redrawn.value)} on average, and between two draws "
            f"{spoken(agreement.value)} (steps_redraw_agreement: 1 where the first noise decides all, 0 where it "
            f"decides nothing), so that no map of the first noise could read above {spoken(most)}."
        )
    return sentences


FEW = 10_000
"""A data set with fewer points to train on is said to be small (ours)."""

USUAL_SIGMA_DATA, FAR = 0.5, 2.0
"""The standard deviation that EDM takes pictures in [-1, 1] to have, and a factor from it that is worth a word."""


def data_in_words(name: str, facts: Mapping[str, Any]) -> list[str]:
    """Sentences on a law whose data are few, or whose pictures are of another size than noise levels are made for.

    facts: a record's section `law_facts`.
    """
    sentences = []
    train, sigma_data = facts["train_rows"], facts["sigma_data"]
    if train is not None and train < FEW:
        rest = " and ".join(f"{facts[f'{part}_rows']} to {verb}" for part, verb in _OTHER_PARTS.items())
        sentences.append(f"Few data: {name} has {train} points to train on, {rest} with.")
    if len(facts["shape"]) == 3 and not 1 / FAR < sigma_data / USUAL_SIGMA_DATA < FAR:
        sentences.append(
            f"The pictures' values have a standard deviation of {spoken(sigma_data)} about their mean picture; the "
            f"usual noise levels are made for {USUAL_SIGMA_DATA} (EDM, pictures in [-1, 1]), and law.scale changes it."
        )
    return sentences


_OTHER_PARTS = {"reference": "refer to", "measure": "measure"}
