"""What the explorer's scripts compute, with Python's answers: the file that tests/js/python.test.mjs reads."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmdlab.config import NetworkSpec, NoiseConfig
from dmdlab.diffusion import karras_grid, path
from dmdlab.laws import make_law
from dmdlab.laws.plane import in_the_plane
from dmdlab.networks import NETWORKS, make_denoiser
from dmdlab.pages.explorer.shared import calibration_section
from dmdlab.pairing import measure, remap_angle, words
from dmdlab.plots.clouds import noise_colours
from dmdlab.randomness import generator
from dmdlab.records.record import load_records

LAWS: dict[str, dict[str, Any]] = {
    "gaussian": {"spectrum": "power", "basis": "random"},
    "mixture": {"components": 5, "rank": 1, "balanced": False},
    "ring": {"components": 7, "scale": 1.5},
    "chessboard": {"scale": 0.7},
    "moons": {"embedding": "random"},
    "spiral": {"turns": 1.0},
    "cube": {"scale": 1.2},
    "sphere": {"thickness": 0.1},
}
LEVELS = (0.02, 0.7, 30.0)


def cases(store: Path, payload: dict[str, Any]) -> str:
    """All of them as JSON; store: of runs with a calibration; payload: of the same."""
    found = {"laws": _law_cases(), "networks": _network_cases(), "pairings": _pairing_cases(), "payload": payload}
    found["words"] = _word_cases()
    return json.dumps(found | _further_cases(store), default=_plain)


def _law_cases() -> list[dict[str, Any]]:
    """Points near the law and far out, at small and large levels."""
    found = []
    for name, settings in LAWS.items():
        law = make_law({"name": name, "dim": 2, **settings})
        for sigma in LEVELS:
            g = generator(0, name)
            x = law.sample(20, g).double() + sigma * 2 * torch.randn(20, 2, generator=g, dtype=torch.float64)
            answer = law.denoise(x, sigma)
            found.append({"name": name, "exact": in_the_plane(law), "sigma": sigma, "x": x, "answer": answer})
    return found


def _network_cases() -> list[dict[str, Any]]:
    found, law = [], make_law({"name": "mixture", "dim": 2})
    for kind, own in {"residual": {"width": 12, "depth": 2}, "mlp": {"width": 12, "depth": 3}, "linear": {}}.items():
        spec = NetworkSpec(kind=kind, **own)  # type: ignore[arg-type]
        denoiser = make_denoiser(1, law, spec)
        denoiser.network.initialise([generator(0, kind)])
        with torch.no_grad():
            denoiser.network.flat += 0.1 * torch.randn(denoiser.network.flat.shape, generator=generator(0, "bias"))
        layout, start = [], 0
        for name, p in denoiser.network.named_parameters():
            layout.append({"name": name, "shape": list(p.shape[1:]), "start": start})
            start += p[0].numel()
        full = NETWORKS[kind].Settings(**own).model_dump()
        for sigma in LEVELS:
            x = torch.randn(5, 2, generator=generator(0, "x")) * sigma
            answer = denoiser(x[None], sigma)[0]
            case = {"spec": {"kind": kind, **full, "sigma_data": law.sigma_data, "layout": layout}, "sigma": sigma}
            found.append(case | {"weights": denoiser.network.flat[0], "x": x, "answer": answer})
    return found


def _pairing_cases() -> list[dict[str, Any]]:
    rng, found = np.random.default_rng(0), []
    P = rng.normal(size=(60, 2))
    for G in (P + 0.3 * rng.normal(size=P.shape), rng.normal(size=P.shape) + 1, 0.001 * P):
        values = measure(P, G).values()
        values = {key: None if np.isnan(value) else value for key, value in values.items()}
        found.append({"teacher": P, "student": G, "metrics": values})
    return found


def _word_cases() -> dict[str, list[list[str]]]:
    """Numbers of all sizes, those at the edges of the rules and those halfway between two that they could be."""
    rng = np.random.default_rng(2)
    sizes = 10 ** rng.uniform(-9, 11, 2000) * rng.choice([-1, 1], 2000)
    edges = [1 - 10.0**-k for k in range(1, 12)] + [10.0**k for k in range(-9, 11)] + [0.99949, 0.9951, 0.9949, 0.997]
    edges += [0.9996, 0.0994, 0.0995, 0.0996, 9.996e-5, 99.96, 0.456, 0.0, math.inf, -math.inf, math.nan]
    halves = [k / 2**n for n in range(12) for k in (1, 3, 5, 7, 9, 11, 25, 201)] + [k / 80 for k in range(80)]
    values = [*sizes.tolist(), *rng.uniform(0, 1, 2000).tolist(), *edges, *halves]
    angles = [90 * value for value in values if 0 <= value < 1]
    ways = {"number": (words.number, values), "percent": (words.percent, values), "degrees": (words.degrees, angles)}
    return {name: [[str(v).replace("inf", "Infinity"), way(v)] for v in own] for name, (way, own) in ways.items()}


def _further_cases(store: Path) -> dict[str, Any]:
    noise, law, other = NoiseConfig(), make_law({"name": "ring", "dim": 2}), make_law({"name": "cube", "dim": 2})
    grid, g = karras_grid(5, noise), generator(0, "z")
    z = 80 * torch.randn(10, 2, generator=g, dtype=torch.float64)
    flows = [
        {"solver": solver, "exact": in_the_plane(law), "z": z, "states": list(path(law.denoise, z, grid, solver))}
        for solver in ("heun", "euler")
    ]
    calibration = load_records(store)[0].calibration()
    assert calibration is not None
    cosines = [0.999, 0.9, 0.5, -0.5]
    angles = [remap_angle(calibration, cosine) for cosine in cosines]
    degrees = [{"value": a.value, "beyond": a.reason is not None} for a in angles]
    points = np.random.default_rng(1).normal(size=(9, 2))
    points *= 3.0 / np.sqrt(np.square(points).mean())
    noised = law.sample(10, g).double() + 0.5 * torch.randn(10, 2, generator=g, dtype=torch.float64)
    between = (law.denoise(noised, 0.5) - other.denoise(noised, 0.5)) / 0.5**2
    arrow = {"teacher": in_the_plane(law), "fake": in_the_plane(other), "noised": noised, "sigma": 0.5}
    return {
        "grid": {"steps": 5, "noise": noise.model_dump(), "levels": grid},
        "flow": flows,
        "angles": {"calibration": calibration_section(calibration), "cosines": cosines, "degrees": degrees},
        "colours": {"points": points, "sigma": 3.0, "rgb": 255 * noise_colours(points)},
        "arrow": arrow | {"answer": between},
    }


def _plain(value: object) -> object:
    """Of tensors and arrays, for JSON."""
    assert isinstance(value, torch.Tensor | np.ndarray)
    return value.tolist()
