"""What measures of more than the pairs add to a reading: nearby answers, one turn of the noise, and baselines."""

from collections.abc import Mapping

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
