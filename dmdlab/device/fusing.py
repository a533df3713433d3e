"""Elementwise work joined into few kernels by Inductor, on a GPU.

Between its matrix products a network passes over its activations again and again (preconditioning, biases, SiLU, norms,
and all of them backwards), and on a GPU every pass costs about what a product does. `torch.compile` writes kernels that
do neighbouring passes in one. They are compiled once for all sizes but 1 and those that need padding: a sweep over d
would otherwise compile for each.
On a CPU that gains little (docs/log.md).
"""

import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")

BACKEND: Any = "inductor"
SETTINGS: dict[str, dict[str, object]] = {
    "torch._dynamo.config": {"force_parameter_static_shapes": False, "cache_size_limit": 64},
    "torch.fx.experimental._config": {"use_duck_shape": False},  # sizes that are equal once need not always be
}

_wanted = False


@contextmanager
def fusing(wanted: bool) -> Iterator[None]:
    """Within it, functions marked `fused` run compiled, or not."""
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


def is_fusing() -> bool:
    """Whether functions marked `fused` run compiled now."""
    return _wanted


def graph_and_fusing(device: torch.device, graph: bool | None, fuse: bool | None) -> tuple[bool, bool]:
    """Whether to replay a step on `device` as a CUDA graph, and whether to fuse it: as given, and where that is None, a
    graph on a GPU, fused if kernels can be compiled for it."""
    graph = device.type == "cuda" if graph is None else graph
    return graph, graph and device.type == "cuda" and can_fuse(device) if fuse is None else fuse


def fused(function: Callable[P, R]) -> Callable[P, R]:
    """`function` of tensors and modules, compiled where `fusing` says so. Its gradient is, too."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _wanted:
            return function(*args, **kwargs)
        with _settings(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Inductor tells of itself and advises on products
            return _compiled(function, BACKEND)(*args, **kwargs)

    return call


@cache
def _compiled(function: Callable[..., Any], backend: Any) -> Callable[..., Any]:
    return torch.compile(function, dynamic=True, backend=backend)


@contextmanager
def _settings() -> Iterator[None]:
    with ExitStack() as stack:
        for module, values in SETTINGS.items():
            config = importlib.import_module(module)
            stack.enter_context(config.patch({k: v for k, v in values.items() if hasattr(config, k)}))
        yield


def can_fuse(device: torch.device) -> bool:
    """Whether kernels can be compiled for `device`; warns when they cannot."""
    found = why_not_fused(device)
    if found:
        warnings.warn(f"trains without fused kernels, which is slower: {found}", stacklevel=2)
    return not found


@cache
def why_not_fused(device: torch.device) -> str:
    """Why kernels cannot be compiled for `device`: without a compiler, Triton or a driver. Nothing when they can."""
    for name in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"):
        if os.environ.get(name) == "1":
            return f"{name} is 1"

    @fused
    def trial(x: Tensor) -> Tensor:
        return (torch.nn.functional.silu(x) + 1).sum()

    try:
        with fusing(True):
            trial(torch.ones(8, 8, device=device, requires_grad=True)).backward()
    except Exception as error:  # each of them has its own
        return " ".join(str(error).split())[:200] or type(error).__name__
    return ""
