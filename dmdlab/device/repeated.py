"""A pure step repeated: state in, state out, in the way that suits the device."""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from torch import Tensor
from torch.utils import _pytree as pytree

from dmdlab.device.capture import Replayed
from dmdlab.device.compiling import Compiled, Way, cache_folder, compiled, plain_way
from dmdlab.device.limits import out_of_memory
from dmdlab.device.precision import Precision, arithmetic
from dmdlab.device.recorded import Function, recorded

S = TypeVar("S")


class Repeated(Generic[S]):
    """`state = step(state, fixed, numbers)`, once a call.

    step: pure; all its tensors have the members first. state, fixed, numbers: nests of tensors of the same shapes each
    time; `fixed` never changes. precision: of its products. way: see `dmdlab.device.compiling`. Raises whatever CUDA
    raises when the step cannot be captured.

    On a CPU what is compiled is one member's step: its numbers stay in the cache, one program serves ensembles of every
    size, and its results are the same to the last bit whoever trains beside it. What is recorded there is the step of
    all members, the first time, beside the step itself and on a copy of the state; the second time a recording has to
    make to the last bit what the step itself makes. A step of which there is none, or that differs, goes on operator by
    operator, which `way` then says.

    Attributes:
        state: where it stands; replaced, or changed in place.
        compile_s: seconds that compiling took, reading from the cache included.
    """

    def __init__(
        self, step: Callable[[S, Any, Any], S], state: S, fixed: Any, way: Way, precision: Precision = "float32"
    ) -> None:
        self.step, self.state, self.fixed, self.way, self.precision = step, state, fixed, way, precision
        self.compile_s = 0.0
        self._spec: Any = None
        self._members: list[list[Tensor]] = []  # each one's rows of the state and of what is fixed
        self._program: Compiled | None = None
        self._recording: Function | None = None
        self._trusted = False  # the recording, once it made what the step made
        self._replayed: Replayed | None = None

    def __call__(self, numbers: Any) -> None:
        """One step."""
        leaves, self._spec = pytree.tree_flatten(numbers)
        on_gpu = leaves[0].is_cuda
        if self.way == "compiled" and self._program is None:
            self._compile(leaves, slice(None) if on_gpu else slice(1))
        if self.way == "recorded":
            with arithmetic(self.precision, leaves[0].device):
                self._by_recording(leaves)
        elif self.way == "eager":
            with arithmetic(self.precision, leaves[0].device):
                self.state = self.step(self.state, self.fixed, numbers)
        elif self.way == "compiled" and not on_gpu:
            self._by_member(leaves)
        else:
            if self._replayed is None:
                self._replayed = Replayed(self._whole, True)
            self._replayed(*leaves)

    def put(self, state: S) -> None:
        """Go on from `state`, copied into the tensors of the present one. Raises ValueError for other shapes."""
        pairs = list(zip(pytree.tree_leaves(self.state), pytree.tree_leaves(state), strict=True))
        for old, new in pairs:
            if old.shape != new.shape:
                raise ValueError(f"a tensor of shape {tuple(new.shape)}, expected {tuple(old.shape)}")
        for old, new in pairs:
            old.copy_(new)

    def _flat(self) -> Callable[..., list[Tensor]]:
        """The step as a function of tensors to tensors."""
        state, spec = pytree.tree_flatten(self.state)
        fixed, fixed_spec = pytree.tree_flatten(self.fixed)
        numbers_spec, step = self._spec, self.step
        a, b = len(state), len(state) + len(fixed)

        def flat(*arguments: Tensor) -> list[Tensor]:
            given = [
                pytree.tree_unflatten(list(part), own)
                for part, own in ((arguments[:a], spec), (arguments[a:b], fixed_spec), (arguments[b:], numbers_spec))
            ]
            return pytree.tree_leaves(step(*given))

        return flat

    def _by_recording(self, leaves: list[Tensor]) -> None:
        """A step by its recording, once that made what the step makes, on a copy of the state beside it."""
        state, spec = pytree.tree_flatten(self.state)
        rest = [*pytree.tree_leaves(self.fixed), *leaves]
        if self._trusted:
            assert self._recording is not None
            made = self._recording(*state, *rest)
        else:
            second = self._recording is not None
            beside = self._beside(state, rest)
            made = self._flat()(*state, *rest)
            if beside is not None and all(map(_same, beside, made)):
                self._trusted = second
            else:
                self.way, self._recording = "eager", None
        self.state = pytree.tree_unflatten(list(made), spec)

    def _beside(self, state: list[Tensor], rest: list[Tensor]) -> Sequence[Tensor] | None:
        """What a step makes while it is recorded, and the next time what the recording makes, of a copy of the state;
        None where there is no recording, whatever the reason: the step itself will say if it is its own."""
        try:
            if not _apart(state, rest):
                return None
            given = [*(t.clone() for t in state), *rest]
            if self._recording is not None:
                return self._recording(*given)
            made, self._recording = recorded(self._flat(), given, len(state))
            return made
        except Exception:
            return None

    def _compile(self, leaves: list[Tensor], rows: slice) -> None:
        flat = self._flat()
        state, fixed = pytree.tree_leaves(self.state), pytree.tree_leaves(self.fixed)
        began = time.perf_counter()
        try:
            with arithmetic(self.precision, state[0].device):
                self._program = compiled(flat, [t[rows] for t in (*state, *fixed, *leaves)], len(state))
        except Exception as error:  # each compiler has its own
            if out_of_memory(error):
                raise
            why = " ".join(str(error).split())[:200] or type(error).__name__
            damaged = f"if code kept in {cache_folder()} is damaged, delete that folder"
            warnings.warn(f"trains without compiling, which is slower: {why}; {damaged}", stacklevel=4)
            self.way = plain_way(state[0].device)
        self.compile_s = time.perf_counter() - began
        both = (*state, *fixed)
        self._members = [[t[i : i + 1] for t in both] for i in range(len(both[0]))]

    def _by_member(self, leaves: list[Tensor]) -> None:
        assert self._program is not None
        for i, own in enumerate(self._members):
            self._program([*own, *[t[i : i + 1] for t in leaves]])

    def _whole(self, *leaves: Tensor) -> None:
        """The step of all members, the state changed in place."""
        with arithmetic(self.precision, leaves[0].device):
            if self._program is None:
                self.put(self.step(self.state, self.fixed, pytree.tree_unflatten(list(leaves), self._spec)))
            else:
                self._program([*pytree.tree_leaves(self.state), *pytree.tree_leaves(self.fixed), *leaves])


def _same(a: Tensor, b: Tensor) -> bool:
    """To the last bit, zeros' signs among them; what is no number in one is none in the other."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((a == b) & (a.signbit() == b.signbit()) | a.isnan() & b.isnan()).all())


def _apart(state: Sequence[Tensor], rest: Sequence[Tensor]) -> bool:
    """Whether no tensor of the state shares memory with another one, of which copies would know nothing, nor is one
    object given twice."""
    places = [t.untyped_storage().data_ptr() for t in state if t.numel()]
    others = {t.untyped_storage().data_ptr() for t in rest if t.numel()}
    once = len({id(t) for t in (*state, *rest)}) == len(state) + len(rest)
    return once and len(set(places)) == len(places) and others.isdisjoint(places)
