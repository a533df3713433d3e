"""Named random streams and the latents z_i. Nothing here, or anywhere in dmdlab, seeds globally.

A stream is named by a seed and words, as in `stream(3, "latents")`. Streams of different names are independent;
a stream does not depend on the batch, on the ensemble around it or on the engine. Latents come from NumPy's Philox
on the CPU whatever the device, and row i is the same however many rows are drawn.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[torch.Generator, int], Tensor]


def _key(seed: int, names: Sequence[str]) -> int:
    text = "/".join((str(seed), *names)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "little")


def stream(seed: int, *names: str) -> np.random.Generator:
    """The NumPy generator of this name."""
    return np.random.Generator(np.random.Philox(key=_key(seed, names)))


def generator(seed: int, *names: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The torch generator of this name on `device` (CPU and CUDA streams of one name differ).

    torch's CPU generator keeps 32 bits of its seed, so two given names share a stream with probability 2^-32.
    """
    return torch.Generator(device).manual_seed(_key(seed, names) >> 65)


def latents(seed: int, n: int, dim: int, sigma_max: float, name: str = "latents") -> Tensor:
    """Prior noise z ~ N(0, sigma_max^2 I), (n, d) float32 on the CPU; row i does not depend on n."""
    rows = stream(seed, name).standard_normal((n, dim), dtype=np.float32)
    return torch.from_numpy(rows * np.float32(sigma_max))


def rotation(seed: int, dim: int, name: str = "rotation") -> Tensor:
    """A random rotation without trace, (d, d) float32 with d >= 2, acting on rows as z @ R.

    Quarter turns in d/2 random planes; when d is odd, one third of a turn about a random axis of three dimensions takes
    the place of a plane and the axis left over. The basis is uniform on O(d). Unlike a uniform rotation, whose trace
    is of order 1, this one leaves exactly nothing of z in R z on average: E<z, R z> = 0 in every dimension.
    """
    gaussian = stream(seed, name).standard_normal((dim, dim))
    q, r = np.linalg.qr(gaussian)
    q *= np.sign(np.diag(r))  # makes QR's Q uniform on O(d) (Mezzadri 2007)
    turn = np.zeros((dim, dim))
    odd = dim % 2
    if odd:
        turn[:3, :3] = np.roll(np.eye(3), 1, axis=0)
    for i in range(3 * odd, dim, 2):
        turn[i, i + 1], turn[i + 1, i] = 1.0, -1.0
    return torch.from_numpy((q @ turn @ q.T).astype(np.float32))


class Ahead:
    """Endless draws for an ensemble, each member from its own generators, `steps` steps at a time.

    kinds: pairs (draw, generators), one for each kind of number; `draw(generator, steps)` gives one member's block
    (steps, ...). Each step is a tuple of tensors (e, ...), one a kind. A member's draws depend only on its own
    generators and on `steps`, never on its neighbours.
    """

    def __init__(self, kinds: Sequence[tuple[Draw, Sequence[torch.Generator]]], steps: int) -> None:
        self.kinds, self.steps = kinds, steps
        self.blocks: list[Tensor] = []
        self.before: Tensor  # the generators' states at the start of the block
        self.used = steps

    def __iter__(self) -> "Ahead":
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        if self.used == self.steps:
            self._draw()
            self.used = 0
        self.used += 1
        return tuple(block[self.used - 1] for block in self.blocks)

    def state(self) -> tuple[Tensor, int]:
        """Where the streams stand: their generators' states (e, kinds, bytes) at the start of the block at work, and
        how many of its steps have been given out."""
        return (self._states(), 0) if self.used == self.steps else (self.before, self.used)

    def restore(self, states: Tensor, used: int) -> None:
        """Go on from where `state` was taken."""
        for i, (_, generators) in enumerate(self.kinds):
            for own, state in zip(generators, states[:, i], strict=True):
                own.set_state(state.clone())  # torch reads a view from the start of its storage
        self._draw()
        self.used = used

    def _states(self) -> Tensor:
        return torch.stack([torch.stack([g.get_state() for g in own]) for _, own in self.kinds], dim=1)

    def _draw(self) -> None:
        self.before = self._states()
        self.blocks = []  # frees the memory for the next ones
        self.blocks = [_block(draw, generators, self.steps) for draw, generators in self.kinds]


def _block(draw: Draw, generators: Sequence[torch.Generator], steps: int) -> Tensor:
    """(steps, e, ...): every member's draws, one member's at a time in memory beside it."""
    first = draw(generators[0], steps)
    block = first.new_empty(steps, len(generators), *first.shape[1:])
    block[:, 0] = first
    del first
    for i, own in enumerate(generators[1:], start=1):
        block[:, i] = draw(own, steps)
    return block


def block_steps(numbers_per_step: int, budget: int = 1 << 20) -> int:
    """How many steps to draw ahead so that one member's block holds about `budget` numbers (1 to 64 steps)."""
    return max(1, min(64, budget // max(1, numbers_per_step)))
