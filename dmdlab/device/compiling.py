"""A pure function of tensors compiled whole by Inductor: when, from where, and why not.

The function is traced through autograd into one graph of operators, in which tensors that it closes over (a law's
means) become inputs, so that one graph serves all experiments of a shape. Inductor joins what lies between the matrix
products into few kernels, and on a CPU calls them from C++: a small network's cycle is hundreds of operators of a few
microseconds, and as many of dispatch. What is compiled is kept in the user's cache folder and found again by the graph
itself, so that a changed program never meets code of an old one.
"""

import hashlib
import importlib
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dmdlab.config import InputError
from dmdlab.device.environment import cpu_kind
from dmdlab.trouble import explained

Way = Literal["eager", "recorded", "graph", "compiled"]
"""How a step is repeated: operator by operator, from Python; on a CPU, the same operators from a recording, to the same
bits (`dmdlab.device.recorded`); on a GPU, the same kernels as a CUDA graph; compiled (on a GPU, in a graph as well)."""

RECORD_FROM = 500
"""Updates of networks in a training from which on a CPU records them (ours, by trials: it decides no bit)."""

COMPILE_FROM = 50_000
"""Updates of networks in a training from which on it is compiled: a committed rule in what the experiment says, and not
in who trains beside it or in what is cached, so that one id means one result. Compiling took about 20 s on a CPU and
saves an ensemble of the quickstart's networks 0.4 (one) to 10 ms (64) an update of its recording (docs/performance.md):
at this length as much as it costs, and up to 20 times that. On a GPU neither is measured yet. Networks that do not gain
by it (`Ensemble.gains_by_compiling`) are compiled only if asked."""

Compiled = Callable[[Sequence[Tensor]], None]


def plain_way(device: torch.device, updates: int = RECORD_FROM) -> Way:
    """How a training of so many updates runs on `device` that is not compiled."""
    if device.type == "cuda":
        return "graph"
    return "recorded" if updates >= RECORD_FROM else "eager"


def changes_in_place(way: Way, device: torch.device) -> bool:
    """Whether a step that goes this way may change its state in place: on a CPU that is not compiled."""
    return way in ("eager", "recorded") and device.type == "cpu"


def by_rule(updates: int, gains: bool = True) -> bool:
    """Whether a training of so many updates is compiled where nobody says how. gains: whether its networks gain by it
    (`Ensemble.gains_by_compiling`)."""
    return gains and updates >= COMPILE_FROM


def way_on(device: torch.device, updates: int, wanted: Way | None = None, gains: bool = True) -> Way:
    """How a training runs on `device`: as wanted, else by the rule (`by_rule`) where code can be compiled.

    Warns when the rule asks for what cannot be. Raises `InputError` when 'compiled' is wanted and cannot be.
    """
    if wanted is None and not by_rule(updates, gains):
        return plain_way(device, updates)
    if wanted not in (None, "compiled"):
        return wanted
    why = why_not_compiled(device)
    if why and wanted:
        raise InputError(f"training cannot be compiled on {device}: {why}; leave out --compile to train without")
    if why:
        warnings.warn(f"trains without compiling, which is slower: {why}", stacklevel=2)
    return plain_way(device) if why else "compiled"


def cache_folder() -> Path:
    """Where compiled code is kept: TORCHINDUCTOR_CACHE_DIR, else dmdlab's own in the user's cache folder, one for each
    kind of CPU: it is compiled for this one, and home folders are shared."""
    if own := os.environ.get("TORCHINDUCTOR_CACHE_DIR"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dmdlab" / "compiled" / cpu_kind()


def why_not_compiled(device: torch.device) -> str:
    """Why nothing can be compiled for `device`: a switch, no compiler, no folder to keep it in. Nothing when it can."""
    for name in ("TORCH_COMPILE_DISABLE", "TORCHDYNAMO_DISABLE"):
        if os.environ.get(name) == "1":
            return f"{name} is 1"
    try:
        folder = cache_folder() / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{os.getpid()}").touch()
        (folder / f".{os.getpid()}").unlink()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        return (
            f"the folder {_shown()} that compiled code is kept in cannot be written ({explained(error)}); set "
            "TORCHINDUCTOR_CACHE_DIR to one that can"
        )
    if device.type == "cuda":
        return "" if _triton() else "Triton, which torch writes a GPU's kernels with, is not installed"
    compiler = os.environ.get("CXX", "g++ or clang++")
    if any(shutil.which(name) for name in compiler.split(" or ")):
        return ""
    return f"there is no C++ compiler ({compiler}); install one, or name one in CXX"


def compiled(function: Callable[..., Sequence[Tensor]], examples: Sequence[Tensor], changed: int) -> Compiled:
    """`function` compiled for tensors like `examples`; a call puts what it returns into its first `changed` arguments.

    Its graph may close over tensors whatever their values. The same graph is compiled once on a machine: others wait
    for whoever compiles it. Raises whatever Inductor raises.
    """
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache_folder())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Inductor tells of itself and advises on products
        graph, constants = traced(function, examples, changed)
        inputs = [*examples, *constants]
        inductor = importlib.import_module("torch._inductor")
        options = {"cpp_wrapper": True, "cpp.threads": 1} if examples[0].device.type == "cpu" else {}
        with _alone(graph, inputs):
            run = inductor.compile(graph, inputs, options=options)

    @torch.no_grad()
    def call(arguments: Sequence[Tensor]) -> None:
        run(*arguments, *constants)

    return call


def traced(
    function: Callable[..., Sequence[Tensor]], examples: Sequence[Tensor], changed: int
) -> tuple[torch.fx.GraphModule, list[Tensor]]:
    """`function`, with what it returns put into its first `changed` arguments, as one graph of operators; and the
    tensors that it closes over, which are the graph's last inputs."""
    make_fx = importlib.import_module("torch.fx.experimental.proxy_tensor").make_fx

    def in_place(*arguments: Tensor) -> list[Tensor]:
        for old, new in zip(arguments[:changed], function(*arguments), strict=True):
            old.copy_(new)
        return []

    apart = {torch.ops.aten.baddbmm.default: _product_and_bias}
    graph = make_fx(in_place, apart, tracing_mode="fake", _allow_non_fake_inputs=True)(*examples)
    nodes = graph.graph
    last = [node for node in nodes.nodes if node.op == "placeholder"][-1]
    fakes, inputs = last.meta["val"].fake_mode, dict[str, torch.fx.Node]()
    for node in [node for node in nodes.nodes if node.op == "get_attr"]:
        name = str(node.target)
        if name not in inputs:
            with nodes.inserting_after(last):
                last = inputs[name] = nodes.placeholder(name)
            last.meta["val"] = fakes.from_tensor(getattr(graph, name))
        node.replace_all_uses_with(inputs[name])
        nodes.erase_node(node)
    graph.recompile()
    return graph, [getattr(graph, name) for name in inputs]


def _product_and_bias(bias: Tensor, x: Tensor, weight: Tensor, beta: float = 1, alpha: float = 1) -> Tensor:
    """baddbmm in two: the sum can join what follows it, where the operator would write the bias to all rows first."""
    return alpha * torch.bmm(x, weight) + beta * bias


@contextmanager
def _alone(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Within it no other process of this user compiles the same graph."""
    from filelock import FileLock

    shapes = [(tuple(t.shape), t.stride(), t.dtype, t.device.type) for t in inputs]
    name = hashlib.sha256(f"{graph.code}{shapes}".encode()).hexdigest()[:32]
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / name):
        yield


def _triton() -> bool:
    return bool(importlib.import_module("torch.utils._triton").has_triton())


def _shown() -> str:
    try:
        return str(cache_folder())
    except RuntimeError:
        return "~/.cache/dmdlab/compiled"
