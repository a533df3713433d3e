"""Networks by kind, as ensembles: many of them as one, every parameter with a leading member axis."""

import torch
from torch import Tensor

from dmdlab.config import Experiment, InputError, NetworkSpec, Section, did_you_mean, section_from
from dmdlab.diffusion import Denoiser
from dmdlab.laws import Law
from dmdlab.networks.denoiser import EDMDenoiser
from dmdlab.networks.ensemble import Ensemble, EnsembleLinear
from dmdlab.networks.head import Head
from dmdlab.networks.linear import LinearNetwork
from dmdlab.networks.mlp import MLP, ResidualMLP
from dmdlab.networks.unet import UNet

NETWORKS: dict[str, type[Ensemble]] = {
    "mlp": MLP,
    "residual": ResidualMLP,
    "unet": UNet,
    "linear": LinearNetwork,
}
"""The catalogue. A kind is a class with `Settings`, made by (members, law, settings, classes), and one line here."""

__all__ = [
    "NETWORKS",
    "EDMDenoiser",
    "Ensemble",
    "EnsembleLinear",
    "Head",
    "denoiser_of",
    "fresh_networks",
    "make_denoiser",
    "make_network",
    "network_settings",
    "networks_of",
    "teacher_of",
]


def network_settings(spec: NetworkSpec) -> Section:
    """The settings of a network's own kind, defaults filled in.

    Raises `InputError` for an unknown kind, an unknown key or a value out of range; the sentence names it
    `network.<key>`.
    """
    if spec.kind not in NETWORKS:
        raise InputError(f"network.kind is {spec.kind!r}, which is not a network{did_you_mean(spec.kind, NETWORKS)}")
    return section_from(NETWORKS[spec.kind].Settings, spec.parameters, "network")


def make_network(members: int, law: Law, spec: NetworkSpec, classes: int = 0) -> Ensemble:
    """`members` uninitialised networks for this law, on the CPU; classes: how many class labels they can be told.

    Raises `InputError` as `network_settings` does, and for a network that this law has no shape for.
    """
    settings = network_settings(spec)
    return NETWORKS[spec.kind](members, law, settings, classes)


def make_denoiser(
    members: int, law: Law, spec: NetworkSpec, device: torch.device | str = "cpu", classes: int = 0
) -> EDMDenoiser:
    """`make_network` on `device`, as denoisers of this law."""
    return EDMDenoiser(make_network(members, law, spec, classes).to_device(device), law.sigma_data)


def teacher_of(experiment: Experiment, law: Law, rows: Tensor, device: torch.device | str = "cpu") -> Denoiser:
    """The members' teachers: the law's own denoiser, or networks with the parameters `rows` (e, P)."""
    if experiment.teacher.kind == "exact":
        return law.denoise
    return networks_of(experiment, law, rows, device)


def networks_of(experiment: Experiment, law: Law, rows: Tensor, device: torch.device | str = "cpu") -> EDMDenoiser:
    """This experiment's networks with the parameters `rows` (e, P), copied."""
    return denoiser_of(rows, law, experiment.network, device, _class_count(experiment, law))


def fresh_networks(experiment: Experiment, law: Law, members: int, device: torch.device | str = "cpu") -> EDMDenoiser:
    """`members` uninitialised networks as this experiment's."""
    return make_denoiser(members, law, experiment.network, device, _class_count(experiment, law))


def denoiser_of(
    rows: Tensor, law: Law, spec: NetworkSpec, device: torch.device | str = "cpu", classes: int = 0
) -> EDMDenoiser:
    """Denoisers of this law with the parameters `rows` (e, P), copied."""
    denoiser = make_denoiser(len(rows), law, spec, device, classes)
    denoiser.network.load_rows(rows)
    return denoiser


def _class_count(experiment: Experiment, law: Law) -> int:
    """How many class labels this experiment's networks can be told: those of the law, or 0."""
    return law.classes if experiment.teacher.condition else 0
