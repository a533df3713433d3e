"""Networks whose parameters have a leading member axis."""

from dmdlab.networks.ensemble import Ensemble, EnsembleLinear
from dmdlab.networks.mlp import MLP, NETWORKS, ResidualMLP

__all__ = ["MLP", "NETWORKS", "Ensemble", "EnsembleLinear", "ResidualMLP"]
