"""A step on static tensors, captured once as a CUDA graph and replayed.

A small network's training step is hundreds of kernels of a few microseconds each; launching them one by one from Python
takes longer than running them. A CUDA graph launches all of them at once. The price is a discipline that the step must
keep, on every device, so that a CPU can test it: it reads and writes tensors that outlive it, in place; every number
that changes from call to call (counters, learning rates) is such a tensor or an input; it draws no random numbers, asks
the device for no value (`.item()`, boolean indexing) and copies nothing from the host.
"""

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3
"""Eager calls before the capture, which libraries use to set themselves up. They count as steps like any other."""


class Replayed:
    """`step(*inputs)` by replaying it: the same results, launched as one.

    step: keeps the discipline above; what it returns is dropped. graph: False calls `step` each time, as on a CPU. The
    inputs of all calls have the same shapes. Raises whatever CUDA raises when the step cannot be captured.
    """

    def __init__(self, step: Callable[..., object], graph: bool) -> None:
        self.step, self.graph = step, graph
        self.calls = 0
        self.inputs: list[Tensor] = []
        self.captured: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor) -> None:
        """One step."""
        if not self.graph:
            self.step(*inputs)
        elif self.calls < WARM_UP:
            self._aside(inputs)
        else:
            if self.captured is None:
                self._capture(inputs)
            assert self.captured is not None
            for static, given in zip(self.inputs, inputs, strict=True):
                static.copy_(given)
            self.captured.replay()
        self.calls += 1

    def _aside(self, inputs: tuple[Tensor, ...]) -> None:
        """An eager call on a side stream, as capture wants its warm-up."""
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            self.step(*inputs)
        main.wait_stream(side)

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        """Record the step's kernels; nothing runs."""
        self.inputs = [given.clone() for given in inputs]
        self.captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.captured):
            self.step(*self.inputs)
