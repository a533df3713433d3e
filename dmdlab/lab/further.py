"""Arrays that no run needs and some figures do: they belong to a teacher and a seed, as the pairs of a store do.

    OUT/further/<as of pairs>.npz    phi_32, and for laws that are data sets training and training_of_data
                                     (`dmdlab.records.further`)

They are made after a sweep, from the networks and the noise that it kept. What is there already is left alone, where it
is whole and of these runs, and made anew where it is not.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from dmdlab.config import Experiment, InputError
from dmdlab.device.environment import why_no_gpu
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.store import Store
from dmdlab.laws import Empirical, Law, make_law
from dmdlab.pairing.analysis import neighbours
from dmdlab.randomness import generator
from dmdlab.records.further import FIRST_ROWS, MANY_STEPS, further, further_path, save_further
from dmdlab.records.record import Record
from dmdlab.records.writing import replacing_in


def keep_further(store: Store, experiments: Iterable[Experiment], device: torch.device) -> Iterator[tuple[int, int]]:
    """Make what is missing, damaged or another's for these experiments' finished runs; yields how many are there of how
    many, from the start.

    Raises `InputError` for a store that lacks a trained teacher of a finished run, and for a training set that a GPU
    drew where there is none.
    """
    owners = {}
    for experiment in experiments:
        if store.finished(experiment) and (record := store.record(experiment)).done:
            path = further_path(record)
            trained = "teacher" in record.environment.get("ways", {})  # and not taken from the store
            if trained or path not in owners:
                owners[path] = experiment, record
    for done, (path, (experiment, record)) in enumerate(owners.items()):
        yield done, len(owners)
        if not _there(record):
            trained_on = torch.device(record.environment.get("device", "cpu"))
            arrays = further_arrays(store, experiment, device, trained_on)
            with replacing_in(path) as partial:
                save_further(partial, record, arrays)
    yield len(owners), len(owners)


def _there(record: Record) -> bool:
    """Whether a run's are kept, and can be read."""
    try:
        return bool(further(record))
    except InputError:
        return False


def further_arrays(
    store: Store, experiment: Experiment, device: torch.device, trained_on: torch.device
) -> dict[str, np.ndarray]:
    """Those arrays of one teacher and seed, float32, made on `device`; the teacher was trained on another, maybe."""
    pairs = store.pairs(experiment)
    row = store.start(experiment) if experiment.teacher.kind == "network" else None
    if pairs is None or (row is None and experiment.teacher.kind == "network"):
        raise InputError(f"{store.out}: a finished run lacks its pairs or its teacher; run the sweep again")
    teacher = experiment.teacher.model_copy(update={"steps": MANY_STEPS})
    phi = teacher_map(experiment.model_copy(update={"teacher": teacher}), device, row)
    rows = slice(FIRST_ROWS)
    told = (pairs["noise"][rows], *([pairs["label"][rows]] if "label" in pairs else []))
    found = {"phi_32": phi(*told)}
    if (points := training_points(make_law(experiment.law.model_dump()), experiment, trained_on)) is not None:
        found["training"] = neighbours(pairs["teacher"], points)
        found["training_of_data"] = neighbours(pairs["data"], points)
    return {name: array.astype(np.float32) for name, array in found.items()}


def training_points(law: Law, experiment: Experiment, trained_on: torch.device) -> np.ndarray | None:
    """The points (m, d) that the teacher was trained on; None where the law never runs out of fresh ones.

    Those of `teacher.train_samples` are drawn again on the kind of device that drew them, as streams of CPU and GPU
    differ. Raises `InputError` where there is none.
    """
    if size := experiment.teacher.train_samples:
        if trained_on.type == "cuda" and not torch.cuda.is_available():
            raise InputError(
                "the training set of a teacher with teacher.train_samples that was trained on a GPU can only be drawn "
                f"again on one, and {why_no_gpu()}: give the same command on a machine with a GPU"
            )
        drawing = generator(experiment.seed, "teacher", "data", device=trained_on.type)
        return law.to(trained_on.type).training_set(size, drawing)[0].cpu().numpy()
    if (atoms := law if isinstance(law, Empirical) else getattr(law, "atoms", None)) is not None:
        return np.asarray(atoms.points, np.float32)
    size = law.available("train") or 0
    return law.training_set(size, generator(experiment.seed, "teacher", "data"))[0].numpy() if size else None
