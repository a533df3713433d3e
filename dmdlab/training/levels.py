"""The noise levels at which a student is called, and which of its steps a batch trains.

By default n steps lie uniformly in the Karras index from the start level down, the last place, sigma_min, being left to
the data: with sigma_max = 80 they are 80; 80, 2.515; 80, 17.53, 2.515, 0.170 (DMD2, arXiv 2405.14867).
"""

from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.diffusion import karras_sigma


def levels_of(experiment: Experiment) -> list[float]:
    """The levels of this experiment's student, one a step, falling."""
    config, noise = experiment.student, experiment.noise
    if config.step_levels:
        return list(config.step_levels)
    first = config.start_level or noise.sigma_max
    from_first = noise.model_copy(update={"sigma_max": first})
    return [first, *(karras_sigma(1 - i / config.steps, from_first) for i in range(1, config.steps))]


def scaled(z: Tensor, level: float, sigma_max: float) -> Tensor:
    """Noise z of standard deviation sigma_max at the size of this level: what a student's first step is called on."""
    return z if level == sigma_max else level / sigma_max * z


def trained_step(experiment: Experiment) -> int | None:
    """The number, from 0, of the step whose output is trained; None where every batch draws one."""
    config = experiment.student
    if config.steps > 1 and config.rollout == "random":
        return None
    return min(config.rollout_step or config.steps, config.steps) - 1


def check_steps(experiment: Experiment) -> None:
    """Raises `InputError` for levels that are too few or too many, outside those of the noise, or in doubt; a step that
    there is not; and an exact fake score of more than one step."""
    config, noise = experiment.student, experiment.noise
    given = list(config.step_levels)
    if given and len(given) != config.steps:
        more = "more steps than levels" if config.steps > len(given) else "more levels than steps"
        raise InputError(
            f"student.steps is {config.steps} and student.step_levels has {len(given)} ({more}); give one level for "
            "each step, or leave student.step_levels out"
        )
    if given and config.start_level not in (0, given[0]):
        raise InputError(
            f"student.start_level is {config.start_level:g}, but student.step_levels starts at {given[0]:g}; leave one "
            "of them out"
        )
    levels = levels_of(experiment)
    if levels[0] > noise.sigma_max or levels[-1] < noise.sigma_min:
        key = "step_levels" if given else "start_level"
        raise InputError(
            f"student.{key}: a student's levels must lie from noise.sigma_min = {noise.sigma_min:g} to noise.sigma_max "
            f"= {noise.sigma_max:g}, where its start was trained, got {', '.join(f'{level:.4g}' for level in levels)}"
        )
    if config.rollout_step > config.steps:
        raise InputError(
            f"student.rollout_step is {config.rollout_step}, but student.steps is {config.steps}; name a step that "
            "there is, or 0 for the last"
        )
    if experiment.fake_score.closed and config.steps > 1:
        raise InputError(
            f"fake_score.kind = {experiment.fake_score.kind!r} is the score of a one-step linear student's Gaussian "
            f"law, and student.steps is {config.steps}: outputs of several steps are a mixture; set student.steps = 1, "
            "or leave fake_score.kind at 'network'"
        )
