"""A step on static tensors, captured once as a CUDA graph and replayed.

A small network's training step is hundreds of kernels of a few microseconds each; launching them one by one from Python
takes longer than running them. A CUDA graph launches all of them at once. The price is a discipline that the step must
keep, on every device, so that a CPU can test it: it reads and writes tensors that outlive it, in place; every number
that changes from call to call (counters, learning rates) is such a tensor or an input; it draws no random numbers, asks
the device for no value (`.item()`, boolean indexing) and copies nothing from the host.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import Tensor

WARM_UP = 3
"""Eager calls before the capture, which libraries use to set themselves up. They count as steps like any other."""


class Replayed:
    """`step(*inputs)` by replaying it: the same results, launched as one.

    step: keeps the discipline above; what it returns is dropped. graph: False calls `step` each time, as on a CPU. The
    inputs of all calls have the same shapes and device. Raises whatever CUDA raises when the step cannot be captured.
    """

    def __init__(self, step: Callable[..., object], graph: bool) -> None:
        self.step: Callable[..., object] | None = step
        self.graph = graph
        self.calls = 0
        self.inputs: list[Tensor] = []
        self.captured: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> None:
        """One step."""
        if self.graph:
            with torch.cuda.device(inputs[0].device):  # streams and captures are the current device's
                self._replay(inputs)
        else:
            assert self.step is not None
            self.step(*inputs)
        self.calls += 1

    def _replay(self, inputs: tuple[Tensor, ...]) -> None:
        if not self.inputs:
            self.inputs = [given.clone() for given in inputs]
        for static, given in zip(self.inputs, inputs, strict=True):
            static.copy_(given)
        if self.step is not None:
            side = side_stream(torch.cuda.current_device())
            if self.calls < WARM_UP:
                self._aside(self.step, side)
                return
            self._capture(self.step, side)
            self.step = None  # whoever owns both this and the step would keep the graph's memory until a collection
        assert self.captured is not None
        self.captured.replay()

    def _aside(self, step: Callable[..., object], side: torch.cuda.Stream) -> None:
        """An eager call on the stream of the capture, as it wants its warm-up."""
        main = torch.cuda.current_stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            step(*self.inputs)
        main.wait_stream(side)

    def _capture(self, step: Callable[..., object], side: torch.cuda.Stream) -> None:
        """Record the step's kernels; nothing runs."""
        self.captured, main = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with _no_collection(), torch.cuda.graph(self.captured, stream=side):
                step(*self.inputs)
        finally:
            torch.cuda.set_stream(main)  # a capture that fails may leave its own


@cache
def side_stream(device: int) -> torch.cuda.Stream:
    """One for all steps of a device: memory and libraries' workspaces are kept for each stream apart."""
    return torch.cuda.Stream(device)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage now and not within: an old graph that is destroyed during a capture ends it."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
