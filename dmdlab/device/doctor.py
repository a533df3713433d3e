"""What this machine offers, what dmdlab will use of it and why, and what deserves action.

`examine` returns plain data: facts, and findings as sentences. Packages come first, from the list that dmdlab's own
metadata holds; until each of them can be imported nothing else is looked at, because nothing else would work. That is
why this module imports none of them at its top.
"""

import importlib
import os
import platform
import sys
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

from dmdlab.config import InputError

if TYPE_CHECKING:
    from dmdlab.device.machine import Machine


@dataclass(frozen=True)
class Package:
    """A package that dmdlab asks for: its version (None: missing), the versions asked for, whether it can be imported,
    and a sentence on what is wrong and what to do, if something is."""

    name: str
    version: str | None
    wanted: str
    works: bool = True
    problem: str = ""


@dataclass(frozen=True)
class Finding:
    """A sentence that deserves action; one that blocks means that dmdlab will not work as asked."""

    text: str
    blocks: bool = False


@dataclass(frozen=True)
class Examination:
    """The whole of it. machine: None while a package is missing or broken."""

    system: str
    python: str
    packages: list[Package]
    machine: "Machine | None" = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether dmdlab works here with the device asked for."""
        return not any(finding.blocks for finding in self.findings)


def examine(device_name: str = "auto", seconds: float = 0.25) -> Examination:
    """Examine this machine; `device_name` as for --device, `seconds` for each rate that is measured."""
    packages = examine_packages()
    findings = [Finding(package.problem, blocks=True) for package in packages if package.problem]
    machine: Machine | None = None
    if all(package.works for package in packages):
        from dmdlab.device.machine import examine_machine

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch would warn of, such as an old driver, becomes words
            machine, more = examine_machine(device_name, seconds)
        findings += more
    system = f"{platform.system()} {platform.release()}, {platform.machine()}"
    return Examination(system, sys.executable, packages, machine, findings)


# --- packages


def examine_packages(distribution: str = "dmdlab") -> list[Package]:
    """Python and every package that `distribution` needs, by its own metadata, each version compared and each module
    imported: a wheel made for another numpy looks installed until it is imported."""
    try:
        from packaging.requirements import Requirement
        from packaging.specifiers import SpecifierSet
    except ImportError:
        raise InputError(
            "the package 'packaging', which compares versions, is missing: pip install packaging"
        ) from None

    wanted = metadata.metadata(distribution)["Requires-Python"] or ""
    version = platform.python_version()
    fits = SpecifierSet(wanted).contains(version, prereleases=True)
    problem = "" if fits else f"Python {version} is not {wanted}, which dmdlab asks for: use another Python."
    found = [Package("Python", version, wanted, problem=problem)]
    modules = _modules()
    for text in metadata.requires(distribution) or []:
        need = Requirement(text)
        if need.marker is None or need.marker.evaluate({"extra": ""}):
            found.append(_examine_package(need.name, str(need.specifier), modules))
    return found


def _examine_package(name: str, wanted: str, modules: dict[str, list[str]]) -> Package:
    from packaging.specifiers import SpecifierSet

    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return Package(name, None, wanted, False, f"{name} is missing: pip install '{name}{wanted}'.")
    proper, version = found.metadata["Name"], found.version
    failure = next(filter(None, map(_import_failure, modules.get(name.lower(), []))), None)
    problem = ""
    if not SpecifierSet(wanted).contains(version, prereleases=True):
        problem = f"{proper} {version} is not {wanted}, which dmdlab asks for: pip install -U '{proper}{wanted}'."
    elif failure:
        again = f"pip install --force-reinstall '{proper}{wanted}'"
        problem = f"{proper} {version} is installed but cannot be imported ({failure}): {again}."
    return Package(proper, version, wanted, failure is None, problem)


def _import_failure(module: str) -> str | None:
    """What went wrong when this module was imported, in a line; None when nothing did."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(module)
    except Exception as error:  # a broken package may raise anything
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


def _modules() -> dict[str, list[str]]:
    """The module to import for each installed distribution: that of its own name, else all that it brings."""
    for backend in ("JAX", "TENSORFLOW", "CUPY"):  # POT imports every backend it finds
        os.environ.setdefault(f"POT_BACKEND_DISABLE_{backend}", "1")
    brought: dict[str, list[str]] = {}
    for module, distributions in metadata.packages_distributions().items():
        for name in set(distributions):
            brought.setdefault(name.lower(), []).append(module)
    return {name: [name] if name in own else sorted(own) for name, own in brought.items()}
