"""An experiment checked against the catalogues, and spelled out."""

import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from dmdlab.config import (
    WITHIN_FLOAT32,
    Experiment,
    InputError,
    Section,
    describe,
    flatten,
    in_float32,
    known_keys,
    nest,
)
from dmdlab.laws import law_parameters, make_law
from dmdlab.laws.arrays import at_home
from dmdlab.networks import NETWORKS, network_settings
from dmdlab.training.exact_score import check_closed
from dmdlab.training.levels import check_steps
from dmdlab.training.terms import TERMS, check_terms, term_settings


def resolve(experiment: Experiment, source: str = "the configuration") -> Experiment:
    """The experiment after building its law, network and terms once to check it, what catalogues have at their defaults
    left out: so experiments that mean the same are the same. `spelled_out` is the other way.

    Raises `InputError` for an unknown law, network, term or parameter, a dimension below the law's minimum or other
    than that of its pictures, lengths beyond float32, more samples than the law has, classes that it has not, settings
    that need an exact denoiser which it lacks, a closed form of the fake score that the student has not, or steps and
    levels of one that do not fit each other.
    """
    spec = experiment.law.model_dump()
    try:
        defaults = law_parameters(spec["name"])
        if "side" in defaults and "dim" not in experiment.law.model_fields_set:
            del spec["dim"]  # which is only the default of laws that have to be told
        built = _check_law(tuple(spec.items()))
        network, terms = network_settings(experiment.network), check_terms(experiment)
        check_closed(experiment, NETWORKS[experiment.network.kind])
        check_steps(experiment)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    condition = experiment.teacher.condition
    if condition and not built.classes:
        raise InputError(
            f"{source}: teacher.condition: the law {spec['name']!r} has no classes to tell; leave teacher.condition "
            "out, or take a law (or for pictures from files, labels) with classes"
        )
    needs = {
        "teacher.kind": experiment.teacher.kind == "exact",
        "teacher.target": experiment.teacher.target == "posterior",
    }
    for key, needed in needs.items():
        if needed and not (built.has_class_denoiser if condition else built.has_denoiser):
            instead = " with teacher.target=data" if key == "teacher.target" else ""
            instead += ", or that of a training set (law.empirical=500)" if "empirical" in defaults else ""
            kind = "exact denoiser given the class" if condition else "exact denoiser"
            raise InputError(f"{source}: {key}: the law {spec['name']!r} has no {kind}; use a trained network{instead}")
    if built.rows is not None and experiment.measure.samples > built.rows:
        raise InputError(
            f"{source}: measure.samples is {experiment.measure.samples}, but the law {spec['name']!r} has {built.rows} "
            "samples to measure with, disjoint from those that are trained on; set measure.samples to at most that"
        )
    law = {k: float(v) if type(defaults[k]) is float else v for k, v in experiment.law.parameters.items()}
    law |= {"digest": built.digest} if built.digest else {}
    own = {f"law.{k}": v for k, v in law.items() if v != defaults[k]}
    own |= {f"network.{k}": v for k, v in network.model_dump(mode="json", exclude_defaults=True).items()}
    for name, one in terms.items():
        own |= {f"terms.{name}.{k}": v for k, v in one.model_dump(mode="json", exclude_defaults=True).items()}
    own["law.dim"] = built.dim
    if experiment.teacher.age == experiment.teacher.iterations:  # the end, whatever it is called
        own["teacher.snapshot"] = 0
    known = known_keys()
    return Experiment.model_validate(nest({k: v for k, v in flatten(experiment).items() if k in known} | own))


def check_apart(experiments: Iterable[Experiment], out: Path) -> None:
    """Raise `InputError` where runs in `out` would lie in the folder that a law takes all pictures of: they would be
    taken for some, now or by the next run."""
    for path in dict.fromkeys(e.law.parameters.get("path") for e in experiments):
        folder = at_home(path, "law.path").resolve() if isinstance(path, str) else None
        if folder and folder.is_dir() and out.resolve().is_relative_to(folder):
            raise InputError(
                f"--out {out}: it lies in law.path {path}, which holds pictures and nothing else: choose another place"
            )


def spelled_out(experiment: Experiment) -> dict[str, Any]:
    """Every key with dots, those of law, network and terms at their defaults, too, in the order of the sections; the
    end of a teacher's training by its number."""
    flat = flatten(experiment) | {"teacher.snapshot": experiment.teacher.age}
    full = {f"law.{k}": v for k, v in law_parameters(experiment.law.name).items()}
    full |= {f"network.{k}": v for k, v in network_settings(experiment.network).model_dump(mode="json").items()}
    for name, one in term_settings(experiment.terms).items():
        full |= {f"terms.{name}.{k}": v for k, v in one.model_dump(mode="json").items()}
    merged = flat | full | flat
    sections = list(Experiment.model_fields)
    return dict(sorted(merged.items(), key=lambda item: sections.index(item[0].partition(".")[0])))


def meanings(experiment: Experiment) -> dict[str, str]:
    """What each key of `spelled_out` means."""
    found = describe() | _described("network", NETWORKS[experiment.network.kind].Settings)
    for name in experiment.terms.parameters:
        found |= _described(f"terms.{name}", TERMS[name].Settings)
    return found


def _described(prefix: str, settings: type[Section]) -> dict[str, str]:
    return {f"{prefix}.{key}": field.description or "" for key, field in settings.model_fields.items()}


class _Built(NamedTuple):
    """What `resolve` needs to know of a law: the digest of its data and how many samples a part of it has, if any."""

    dim: int
    has_denoiser: bool
    has_class_denoiser: bool
    classes: int
    digest: str
    rows: int | None


def _check_law(spec: tuple[tuple[str, Any], ...]) -> _Built:
    """Build the law (raises `InputError`)."""
    reads_files = "path" in law_parameters(dict(spec)["name"])  # which may change
    return (_build_law.__wrapped__ if reads_files else _build_law)(spec)


@lru_cache(maxsize=256)
def _build_law(spec: tuple[tuple[str, Any], ...]) -> _Built:
    try:
        law = make_law(dict(spec))
        spread = law.sigma_data
    except ArithmeticError:  # a square that is no float
        spread = math.nan
    if not in_float32(spread):
        told = f"{spread:g}" if math.isfinite(spread) else "no finite number"
        do = "set law.scale, or what else is a length of the law, nearer to 1" if spread else "give points that differ"
        whose = f"the standard deviation of the law {dict(spec)['name']!r}, per coordinate,"
        raise InputError(f"{whose} is {told}; {WITHIN_FLOAT32}: {do}")
    digest, rows = law.digest or "", law.available("measure")
    return _Built(law.dim, law.has_denoiser, law.has_class_denoiser, law.classes, digest, rows)
