"""The kinds of operators that a profile tells apart, by their names in torch."""

MATRIX = "matrix products"
ACTIVATION = "activations and normalisation"
OPTIMISER = "optimiser"
NOISE = "noise draws"
COPIES = "copies and concatenation"
FUSED = "fused elementwise"
ELEMENTWISE = "other elementwise and reductions"
OVERHEAD = "Python and overhead"
UNSORTED = "operators of no kind yet"

NAMES: dict[str, str] = {
    MATRIX: "mm bmm addmm baddbmm matmul linear mv addmv dot",
    ACTIVATION: """silu silu_backward gelu gelu_backward relu threshold_backward sigmoid sigmoid_backward tanh_backward
        layer_norm native_layer_norm native_layer_norm_backward group_norm native_group_norm native_group_norm_backward
        """,
    OPTIMISER: "_fused_adamw",
    NOISE: "rand randn randint random normal uniform multinomial bernoulli exponential randperm",
    COPIES: """to _to_copy copy clone contiguous cat stack pad constant_pad_nd index index_select index_put gather
        scatter repeat repeat_interleave roll flip arange linspace eye scalar_tensor fill zero zeros zeros_like ones
        ones_like full full_like new_full new_zeros new_ones""",
    ELEMENTWISE: """abs add addcmul addcdiv sub rsub mul div pow sqrt rsqrt square reciprocal neg exp expm1 log log1p
        sin cos tan tanh erf erfinv erfc special_erfcx floor ceil round remainder fmod sign clamp clamp_min clamp_max
        maximum minimum where eq ne lt le gt ge __and__ __or__ bitwise_and bitwise_or bitwise_not logical_and logical_or
        logical_not isfinite isnan lerp sum mean amax amin max min prod cumsum any all argmax argmin norm
        linalg_vector_norm var std logsumexp softmax _softmax log_softmax _log_softmax sort searchsorted fft_fft
        _fft_r2c _fft_c2c _fft_c2r""",
    OVERHEAD: """empty empty_like empty_strided new_empty new_empty_strided resize view _unsafe_view reshape expand
        expand_as as_strided select slice split split_with_sizes chunk narrow unbind unsqueeze squeeze transpose t mT
        permute flatten unflatten detach alias lift_fresh item _local_scalar_dense result_type promote_types
        resolve_conj resolve_neg real imag view_as_real""",
}
"""The operators of each kind: their names without 'aten::' and without the underscore of those that work in place.

Views and allocations move no numbers: what they cost is overhead, and so are reads of a value from the device.
"""

_KINDS = {name: kind for kind, names in NAMES.items() for name in names.split()}


def kind_of(operator: str) -> str:
    """The kind of an operator by the name that torch's profiler gives it; `UNSORTED` for one that `NAMES` lacks.

    What is not an operator is overhead: the nodes of autograd, calls of the CUDA runtime, named stretches of code.
    """
    if operator.startswith(("aten::_foreach_", "Optimizer.")):
        return OPTIMISER
    if operator.startswith("triton_"):  # as Inductor names what it writes, the optimiser's included
        return FUSED
    if not operator.startswith("aten::"):
        return OVERHEAD
    name = operator.removeprefix("aten::")
    return _KINDS.get(name if name.endswith("__") else name.removesuffix("_"), UNSORTED)
