"""Runs for the explorer without any training: random networks as students, and what they and their teacher answer."""

from pathlib import Path

import torch
from torch import Tensor

from dmdlab.config import Experiment
from dmdlab.diffusion import flow, karras_grid
from dmdlab.experiments import load
from dmdlab.group import Group
from dmdlab.lab.calibrate import teacher_map
from dmdlab.lab.store import RunResult, Store
from dmdlab.laws import make_law
from dmdlab.networks import make_denoiser
from dmdlab.pairing import Calibration, calibrate, measure
from dmdlab.randomness import generator, latents, stream
from dmdlab.records.checksums import save_npz
from dmdlab.records.record import Record, load_records
from dmdlab.training.student import later_noises, starting_student

SMALL = (
    "teacher.steps=4",
    "network.width=8",
    "network.depth=2",
    "measure.samples=40",
    "measure.bases=2",
    "noise.sigma_max=5.0",
)
MOMENTS = (0, 10, 20)
HARDWARE = "</script><img src=x onerror=alert(1)>\u2028 & more"


def explored(out: Path, *words: str, keep: bool = True, calibrated: bool = True) -> list[Record]:
    """A store of these runs, each with three moments, or its end alone; the records."""
    store = Store(out)
    for e in load(None, "smoke", [*SMALL, *words]).experiments():
        _put(store, e, keep, calibrated)
    return load_records(out)


def _put(store: Store, e: Experiment, keep: bool, calibrated: bool) -> None:
    law, n, name = make_law(e.law.model_dump()), e.measure.samples, None
    if e.teacher.kind == "network" and store.start(e) is None:
        store.keep_start(e, _networks(e, "start")[0])
    teacher = law.denoise if e.teacher.kind == "exact" else _denoiser(e, store.start(e))
    z, fresh = (latents(e.seed, n, law.dim, e.noise.sigma_max, stream)[None] for stream in ("latents", "fresh latents"))
    grid = karras_grid(e.teacher.steps, e.noise)
    arrays = {"noise": z, "teacher": flow(teacher, z, grid), "reference": flow(teacher, fresh, grid)}
    arrays["one_step"] = teacher(z, e.noise.sigma_max).detach()
    arrays["data"] = law.sample(n, generator(e.seed, "data"))[None]
    pairs = {key: value[0].numpy() for key, value in arrays.items()}
    if store.pairs(e) is None:
        store.keep_pairs(e, pairs)
    rows = {network: _networks(e, network) for network in ("student", "fake")}
    group = Group((e.model_copy(update={"student": e.student.model_copy(update={"init": _in_place(e.student.init)})}),))
    student = starting_student(group, law, rows["student"][-1:], "cpu")
    with torch.no_grad():
        outputs = student(z, later_noises(student, [e.seed], law.dim, n))[0].numpy()
    calibration = None
    if calibrated:
        name, calibration = "known.npz", _calibration(store, e)
    report = measure(pairs["teacher"], outputs, reference=pairs["reference"], calibration=calibration)
    shapes = {key: p.shape[1:] for key, p in student.network.named_parameters()}
    summary = {"status": "done", "failed_at": None, "teacher": {"ok": True, "reasons": []}, "student": {}}
    summary |= {"law_facts": {"shape": list(law.shape)}, "calibration": name, **report.to_dict()}
    curve = {"iteration": [1.0, *map(float, MOMENTS[1:])], "dm_loss": [0.5, 0.4, 0.3], "pair_cosine": [0.1, 0.5, 0.9]}
    moments = {"iteration": torch.tensor(MOMENTS)} if keep else {}
    for network, own in rows.items() if keep else ():
        moments |= {f"{network}.{key}": value for key, value in _named(own, shapes).items()}
    weights = {key: value[-1].clone() for key, value in _named(rows["student"], shapes).items()}
    store.put(RunResult(e, summary, curve, outputs, weights, moments), {"hardware": HARDWARE})


def _calibration(store: Store, e: Experiment) -> Calibration:
    """Of few angles, so quickly made; kept in the store as known.npz."""
    z, fresh = (latents(0, n, e.law.dim, e.noise.sigma_max, f"known {n}").numpy() for n in (40, 120))
    teacher, rng = teacher_map(e, torch.device("cpu")), stream(0, "known")
    found = calibrate(teacher, z, fresh_noise=fresh, rng=rng, angles_degrees=(0, 45, 90), shares=(0.5,), bases=2)
    (store.out / "calibration").mkdir(exist_ok=True)
    save_npz(store.out / "calibration" / "known.npz", found.to_arrays())
    return found


def _in_place(init: str) -> str:
    """The start whose turn is that of `init` and whose network is given."""
    return "teacher" if init == "random" else init


def _networks(e: Experiment, name: str) -> Tensor:
    """A random network at each of `MOMENTS`, (m, P)."""
    law = make_law(e.law.model_dump())
    network = make_denoiser(len(MOMENTS), law, e.network).network
    rows: Tensor = network.initialise([generator(e.seed, name, str(i)) for i in MOMENTS]).flat
    return rows


def _denoiser(e: Experiment, row: Tensor | None) -> torch.nn.Module:
    assert row is not None
    denoiser = make_denoiser(1, make_law(e.law.model_dump()), e.network)
    denoiser.network.load_rows(row[None])
    return denoiser


def _named(rows: Tensor, shapes: dict[str, torch.Size]) -> dict[str, Tensor]:
    """Rows (m, P) by parameter, (m, ...) each."""
    parts = rows.split([shape.numel() for shape in shapes.values()], dim=1)
    return {
        key: part.reshape(-1, *shape).contiguous() for part, (key, shape) in zip(parts, shapes.items(), strict=True)
    }
