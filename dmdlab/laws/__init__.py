"""The data laws, by name. Scale convention and interface: `law.py`."""

import inspect
from collections.abc import Mapping

from dmdlab.config import InputError, did_you_mean
from dmdlab.laws.blobs import Blobs
from dmdlab.laws.cube import Cube
from dmdlab.laws.curves import Moons, Spiral
from dmdlab.laws.empirical import Empirical
from dmdlab.laws.field import Field, Fields
from dmdlab.laws.gaussian import Gaussian
from dmdlab.laws.images import Digits, Images
from dmdlab.laws.law import PARTS, Law, Part
from dmdlab.laws.manifold import Manifold
from dmdlab.laws.mixture import Mixture
from dmdlab.laws.planar import Chessboard, Ring
from dmdlab.laws.registered import Registered
from dmdlab.laws.sphere import Sphere

VECTORS = (Gaussian, Mixture, Ring, Chessboard, Moons, Spiral, Cube, Sphere, Empirical)
PICTURES = (Manifold, Field, Fields, Blobs, Images, Digits)
LAWS: dict[str, type[Law]] = {law.name: law for law in (*VECTORS, *PICTURES)}

__all__ = [
    "LAWS",
    "PARTS",
    "Blobs",
    "Chessboard",
    "Cube",
    "Digits",
    "Empirical",
    "Field",
    "Fields",
    "Gaussian",
    "Images",
    "Law",
    "Manifold",
    "Mixture",
    "Moons",
    "Part",
    "Ring",
    "Sphere",
    "Spiral",
    "law_parameters",
    "make_law",
]


def law_parameters(name: str) -> dict[str, object]:
    """The parameters of a law that a config may set, and their defaults (so without `dim`, which has none).

    Raises:
        InputError: there is no law of this name.
    """
    law = _law(name)
    parameters = inspect.signature(law).parameters
    return {key: p.default for key, p in parameters.items() if key != "dim" and key not in law.python_only}


def make_law(spec: Mapping[str, object]) -> Law:
    """The law that a config describes: its `name`, `dim`, and any of `law_parameters(name)`.

    Raises:
        InputError: as for the constructor (`checks.checked`), or `name` is missing or unknown.
    """
    if "name" not in spec:
        raise InputError(f"law.name is missing: expected one of {', '.join(sorted(LAWS))}")
    name = spec["name"]
    parameters = {key: value for key, value in spec.items() if key != "name"}
    known = ["dim", *law_parameters(name if isinstance(name, str) else repr(name))]
    for key in parameters:
        if key not in known:
            others = [other for other in LAWS if key in law_parameters(other)]
            hint = f"; laws that have it are {', '.join(others)}: set law.name, or a preset that does"
            hint = hint if others else did_you_mean(key, known, "law.")
            raise InputError(f"law.{key} is not a parameter of the law {name!r}{hint}")
    return _law(str(name))(**parameters)  # type: ignore[arg-type]


def _law(name: str) -> type[Law]:
    known = LAWS | {Registered.name: Registered}  # which is none of the catalogue: it is there in one process only
    if name not in known:
        raise InputError(f"law.name is {name!r}, which is not a law{did_you_mean(name, LAWS)}")
    return known[name]
