"""Optimal transport between two samples: numpy, exact or certified; `on_gpu` alone knows torch."""

from dmdlab.transport.distances import distance_blocks, matched_distances, nearest_rows, squared_distances
from dmdlab.transport.engine import Engine
from dmdlab.transport.frame import Frame
from dmdlab.transport.solution import Transport, TransportError
from dmdlab.transport.solve import DENSE_LIMIT, assignment, check_sizes, solved, transport_cost

__all__ = [
    "DENSE_LIMIT",
    "Engine",
    "Frame",
    "Transport",
    "TransportError",
    "assignment",
    "check_sizes",
    "distance_blocks",
    "matched_distances",
    "nearest_rows",
    "solved",
    "squared_distances",
    "transport_cost",
]
