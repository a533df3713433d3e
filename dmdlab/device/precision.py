"""In which arithmetic the networks' matrix products run: float32, TF32 or bfloat16.

Parameters, optimiser states, losses and everything but products are float32 in all three. TF32 is a switch of torch
that holds for the whole process and bfloat16 its autocast, so `arithmetic` sets them for a stretch of code, a training
cycle, and puts them back. What a run is measured by (flows, students' outputs, transport) never runs in either, nor do
the laws within a cycle: |x|^2 - 2 xy + |y|^2 would cancel there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch

from dmdlab.config import InputError

Precision = Literal["float32", "tf32", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def supports(device: torch.device, precision: Precision) -> bool:
    """Whether `device` has this arithmetic in hardware; bfloat16 is emulated, correct and slow, elsewhere."""
    if device.type == "cuda":
        return precision == "float32" or torch.cuda.get_device_capability(device) >= (8, 0)
    return precision == "float32" or (precision == "bf16" and cpu_bf16() != "none")


def cpu_bf16() -> Literal["amx", "avx512", "none"]:
    """Which instructions of this CPU multiply bfloat16: AMX tiles, AVX512-BF16, or none that torch uses."""
    if torch.cpu._is_amx_tile_supported():  # no public name yet
        return "amx"
    return "avx512" if torch.cpu._is_avx512_bf16_supported() else "none"


def precision_on(device: torch.device, wanted: str) -> Precision:
    """The arithmetic that 'auto' or a name means on `device`: 'auto' is TF32 on a GPU that has it, else float32.

    Raises `InputError` for an arithmetic that the device lacks.
    """
    if wanted == "auto":
        return "tf32" if supports(device, "tf32") else "float32"
    for precision in PRECISIONS:
        if precision == wanted and supports(device, precision):
            return precision
    able = ", ".join(p for p in PRECISIONS if supports(device, p))
    raise InputError(
        f"network.precision is {wanted!r}, which the device {device} does not have: set it to auto or one of {able}, "
        "or choose another --device"
    )


def full_precision() -> None:
    """From now on this process convolves in float32 outside `arithmetic`, as it multiplies: on a GPU torch would let
    convolutions, but not products, go by TF32."""
    torch.backends.cudnn.allow_tf32 = False


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Within it, products of float32 tensors on `device` run in this arithmetic, those of autograd included."""
    switches: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = precision == "tf32"
    # no cache of cast weights: they change within one cycle
    casts = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)
    try:
        with casts:
            yield
    finally:
        for switch, was in zip(switches, before, strict=True):
            switch.allow_tf32 = was
