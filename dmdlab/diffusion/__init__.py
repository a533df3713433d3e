"""Noise, denoisers and the flow that pairs noise with data."""

from dmdlab.diffusion.denoiser import Denoiser, conditioned
from dmdlab.diffusion.flow import flow, path, steps
from dmdlab.diffusion.noise import edm_coefficients, edm_weight, karras_grid, karras_sigma, levels_in

__all__ = [
    "Denoiser",
    "conditioned",
    "edm_coefficients",
    "edm_weight",
    "flow",
    "karras_grid",
    "karras_sigma",
    "levels_in",
    "path",
    "steps",
]
