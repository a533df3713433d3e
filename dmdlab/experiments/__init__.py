"""Experiments from files, presets and words, checked against the catalogues."""

from dmdlab.experiments.files import Sweep, load, parse_words, presets
from dmdlab.experiments.resolved import check_apart, meanings, resolve, spelled_out

__all__ = ["Sweep", "check_apart", "load", "meanings", "parse_words", "presets", "resolve", "spelled_out"]
