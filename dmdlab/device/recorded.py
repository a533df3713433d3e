"""A pure function of tensors on a CPU, recorded once, operator by operator, and run again by torch's own interpreter.

A small network's training step is thousands of operators of a few microseconds, most of them views; Python, which calls
one after the other, and autograd, which keeps account of them, take about as long as they do. What runs here are the
very operators that ran before, in their order, from C++, on other tensors of the same shapes. So results are the same
to the last bit, and whoever trains may choose. Nothing is compiled, and no compiler is asked for. (What a compiler is
given, `dmdlab.device.compiling.traced`, would do, but tracing takes seconds, as much as a quick training spares.)

The function keeps the discipline of `dmdlab.device.capture`: what changes from call to call is an argument, it draws no
random numbers and asks no tensor for its value. What it closes over (a law's means) is held as it is. One that is seen
not to keep it is refused before it has changed anything but the arguments that it may change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_C: Any = torch._C  # which has no types for its graphs

Function = Callable[..., Sequence[Tensor]]

REFUSED = (torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
"""Operators that do another thing at each call, or tell Python what a tensor holds."""

ASKING = frozenset({"tolist", "numpy", "__array__", "__dlpack__", "data_ptr", "__repr__", "__format__"})
"""Methods that tell Python what a tensor holds and are no operators."""


class NotRecordableError(Exception):
    """A function does what no recording can repeat, or torch's interpreter does not know how."""


def recorded(function: Function, arguments: Sequence[Tensor], changed: int = 0) -> tuple[Sequence[Tensor], Function]:
    """What `function` makes of these arguments, and a program that makes it of others of their shapes, without
    gradients. It may change the first `changed` arguments, which share no memory, and nothing else that it is not the
    maker of. Raises `NotRecordableError`, when it may have changed these, and whatever it raises."""
    recording = _Recording(arguments, changed)
    with recording, _Asked(recording):
        results = function(*arguments)
    if recording.refused:  # what was raised within the function may have been caught there
        raise NotRecordableError(recording.refused)
    return results, recording.program(results)


def why_not_recorded() -> str:
    """Why this torch records nothing, as one whose interpreter is gone; nothing when it does."""
    try:
        (expected,), program = recorded(_trial, [torch.ones(2)])
        (found,) = program(torch.ones(2))
    except (NotRecordableError, RuntimeError) as error:
        return str(error).split("\n")[0]
    return "" if torch.equal(found, expected) else "a recording made another thing"


def _trial(x: Tensor) -> list[Tensor]:
    """A product and its gradient."""
    x = x.detach().requires_grad_()
    return [torch.autograd.grad((x * x + 1).log().sum(), x)[0]]


class _Asked(TorchFunctionMode):
    """Refuses to tell Python what a tensor holds where that is no operator."""

    def __init__(self, recording: "_Recording") -> None:
        super().__init__()
        self.recording = recording

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in ASKING:
            raise self.recording.refusal(f"{name} tells Python what a tensor holds")
        return func(*args, **(kwargs or {}))


class _Held(NamedTuple):
    """A tensor, by the number that it has in a recording."""

    number: int


class _Call(NamedTuple):
    """An operator's schema, its arguments in their order, tensors as `_Held`, and the numbers of what it made for each
    of what it returns: one, those of a list of tensors, or none."""

    schema: Any
    given: list[Any]
    made: list[Any]


class _Recording(TorchDispatchMode):
    """What runs within it, operator by operator.

    It is kept in Python's own memory, and becomes a graph once it is over: nodes of a graph among arrays of a step
    would keep what lies between them from being used again, which for a large ensemble is as much as it takes.

    A tensor is known by its object. One that is not known came from outside, and is held; unless it lies in memory that
    was given, or that an operator gave out within, as a second object of a tensor would: that would be taken for a
    constant, and is refused. So is an operator that would write where others read.
    """

    def __init__(self, arguments: Sequence[Tensor], changed: int) -> None:
        super().__init__()
        self.arguments, self.tensors = len(arguments), 0
        self.numbers, self.memory = WeakIdKeyDictionary(), WeakIdKeyDictionary()  # memory: whose it is
        self.calls, self.constants = list[_Call](), dict[int, Tensor]()
        self.refused = ""
        with _building():
            for i, argument in enumerate(arguments):
                self._number(argument)
                self.memory[argument.untyped_storage()] = "own" if i < changed else "given"

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # no compiler looks at it, and asking for that imports one, which takes seconds

    def refusal(self, why: str) -> NotRecordableError:
        """An error to be raised, which holds even where somebody catches it."""
        self.refused = why
        return NotRecordableError(why)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            return self._seen(func, args, kwargs or {})
        except NotRecordableError as error:
            self.refused = str(error)
            raise

    def _seen(self, func: Any, args: Sequence[Any], named: Mapping[str, Any]) -> Any:
        """What an operator makes, once it is written down."""
        if not _of_tensors(func):
            if any(isinstance(given, Tensor) for given in (*args, *named.values())):
                raise NotRecordableError(f"{func} tells Python what a tensor holds")
            return func(*args, **named)  # of types and the like
        if any(tag in func.tags for tag in REFUSED) and not _by_number(func, args):
            raise NotRecordableError(f"{func} does another thing at each call")
        with _building():
            self._check_writes(func, args, named)
        results = func(*args, **named)
        with _building():
            self._record(func._schema, args, named, results)
        return results

    def _record(self, schema: Any, args: Sequence[Any], named: Mapping[str, Any], results: Any) -> None:
        """What an operator made of its arguments."""
        given = [
            self._held(args[i] if i < len(args) else named.get(wanted.name, wanted.default_value))
            for i, wanted in enumerate(schema.arguments)
        ]
        made = [results] if len(schema.returns) == 1 else results or ()
        self.calls.append(_Call(schema, given, [self._made(one) for one in made]))

    def _made(self, made: Any) -> Any:
        """The number of a tensor that an operator made, those of a list of such, or None."""
        if isinstance(made, Tensor):
            self.memory.setdefault(made.untyped_storage(), "own")  # views lie where they lie
            return self._number(made)
        if isinstance(made, list | tuple):
            return [self._made(one) for one in made]
        if made is not None:
            raise NotRecordableError("an operator that makes tensors makes a number, too")
        return None

    def _held(self, given: Any) -> Any:
        """An argument, its tensors by their numbers."""
        if isinstance(given, list | tuple):
            return [self._held(one) for one in given]
        return _Held(self._known(given)) if isinstance(given, Tensor) else given

    def _known(self, given: Tensor) -> int:
        if given not in self.numbers:
            if self.memory.setdefault(given.untyped_storage(), "outside") != "outside":
                raise NotRecordableError("a second object of a tensor that was given or made within")
            self.constants[self._number(given)] = given
        number: int = self.numbers[given]
        return number

    def _number(self, tensor: Tensor) -> int:
        """A number for this tensor as it is from now on."""
        self.numbers[tensor] = self.tensors
        self.tensors += 1
        return self.tensors - 1

    def _check_writes(self, func: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
        """Raises `NotRecordableError` for an operator that writes into memory which is neither the function's own nor
        of an argument that it may change."""
        for i, wanted in enumerate(func._schema.arguments):
            if wanted.alias_info is not None and wanted.alias_info.is_write:
                given = args[i] if i < len(args) else named.get(wanted.name)
                for one in given if isinstance(given, list | tuple) else [given]:
                    if isinstance(one, Tensor) and self.memory.get(one.untyped_storage()) != "own":
                        raise NotRecordableError(f"{func} writes into a tensor that is not the function's own")

    def program(self, results: Sequence[Tensor]) -> Function:
        """What was recorded, as a function to `results`."""
        with _building():
            outputs = [self._known(result) for result in results]
            graph = _Graph(self.arguments, self.constants)
            for one in self.calls:
                graph.add(one)
            run = _C._create_function_from_graph("recorded", graph.returning(outputs))

        @torch.no_grad()
        def call(*arguments: Tensor) -> Sequence[Tensor]:
            # as recorded: what joins operators could change a sum, and casts are among them
            with torch.jit.optimized_execution(False), torch.autocast("cpu", enabled=False):
                made: Sequence[Tensor] = run(*arguments)
            return made

        return call


class _Graph:
    """A recording in the terms of torch's interpreter, its tensors by their numbers: first the arguments, as many as
    they are, and the constants."""

    def __init__(self, arguments: int, constants: Mapping[int, Tensor]) -> None:
        self.graph = _C.Graph()
        self.values: dict[int, Any] = {i: self.graph.addInput() for i in range(arguments)}
        self.plain = dict[tuple[type, str], Any]()  # numbers and the like, each once: there are several an operator
        self.values |= {number: self.graph.insertConstant(tensor) for number, tensor in constants.items()}

    def add(self, call: _Call) -> None:
        """One more operator."""
        schema = call.schema
        inputs = [
            self._value(given, str(wanted.type)) for given, wanted in zip(call.given, schema.arguments, strict=True)
        ]
        outputs = self._node(schema.name, inputs, [part.type for part in schema.returns])
        for output, made in zip(outputs, call.made, strict=True):
            self._name(output, made)

    def returning(self, numbers: Sequence[int]) -> Any:
        """The graph, once it returns these tensors."""
        outputs, kind = [self.values[number] for number in numbers], _C.TensorType.get()
        (together,) = self._node("prim::TupleConstruct", outputs, [_C.TupleType([kind] * len(outputs))])
        self.graph.registerOutput(together)
        return self.graph

    def _node(self, name: str, inputs: Sequence[Any], types: Sequence[Any]) -> list[Any]:
        """The values that one more operator makes."""
        node = self.graph.create(name, inputs, len(types))
        for output, kind in zip(node.outputs(), types, strict=True):
            output.setType(kind)
        self.graph.insertNode(node)
        return list(node.outputs())

    def _name(self, value: Any, made: Any) -> None:
        """A value is the tensor of a number, or a list of such."""
        if isinstance(made, list):
            for i, one in enumerate(made):
                place, kind = self._constant(i), _C.TensorType.get()
                self._name(self._node("aten::__getitem__", [value, place], [kind])[0], one)
        else:
            self.values[made] = value

    def _value(self, given: Any, kind: str) -> Any:
        """An operator's argument, of a type as its schema names it."""
        if isinstance(given, _Held):
            return self.values[given.number]
        if isinstance(given, list) and (not given or "Tensor" in kind):
            element = _C.BoolType.get() if "bool" in kind else _C.IntType.get()
            if "Tensor" in kind:
                element = _C.TensorType.get()
            if "Optional[Tensor]" in kind:
                element = _C.OptionalType(element)
            parts = [self._value(one, kind) for one in given]
            return self._node("prim::ListConstruct", parts, [_C.ListType(element)])[0]
        return self._constant(_plain(given, kind))

    def _constant(self, given: Any) -> Any:
        key = type(given), repr(given)
        if key not in self.plain:
            self.plain[key] = self.graph.insertConstant(given)
        return self.plain[key]


@contextmanager
def _building() -> Iterator[None]:
    """Within it whatever torch says of a graph, of which its interpreter may know less than Python, is that there can
    be none."""
    try:
        yield
    except (RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise NotRecordableError(str(error).split("\n")[0]) from error


@cache
def _of_tensors(func: Any) -> bool:
    """Whether it makes tensors, or changes such in place and makes nothing."""
    if not isinstance(func, torch._ops.OpOverload):
        raise NotRecordableError(f"{func} is no operator")
    returns = func._schema.returns
    return not returns or any("Tensor" in str(part.type) for part in returns)


def _by_number(func: Any, args: Sequence[Any]) -> bool:
    """Whether it takes rows by their numbers: it makes a tensor of one shape then, whatever these are."""
    masks = (torch.bool, torch.uint8)
    return func is torch.ops.aten.index.Tensor and all(i is None or i.dtype not in masks for i in args[1])


_FORMATS = {torch.contiguous_format: 0, torch.preserve_format: 1, torch.channels_last: 2, torch.channels_last_3d: 3}
_TYPES = {
    **{torch.uint8: 0, torch.int8: 1, torch.int16: 2, torch.int32: 3, torch.int64: 4},
    **{torch.float16: 5, torch.float32: 6, torch.float64: 7, torch.bool: 11, torch.bfloat16: 15},
}
"""Numbers that the interpreter has for these."""


def _plain(given: Any, kind: str) -> Any:
    """A number, or what stands for one, as the interpreter takes it."""
    if isinstance(given, list | tuple):
        return [float(one) if "float" in kind else one for one in given]
    if isinstance(given, torch.memory_format):
        return _FORMATS[given]
    if isinstance(given, torch.dtype):
        return _TYPES[given]
    if isinstance(given, torch.layout):
        return int(given is not torch.strided)
    return float(given) if kind in ("float", "Optional[float]") and given is not None else given
