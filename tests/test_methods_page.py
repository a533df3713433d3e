"""The table of docs/losses.md, from the kept summaries of the six presets."""

import sys
from pathlib import Path

import pytest

from dmdlab.config import flatten
from dmdlab.experiments import load
from dmdlab.records.record import Record

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "figures"))
import losses as methods  # noqa: E402
from answers_kept import read  # noqa: E402


def test_the_table_comes_out_of_the_kept_summaries_to_the_byte() -> None:
    text = methods.GUIDE.read_text(encoding="utf-8")
    assert methods.page(text, read(methods.KEPT)) == text


@pytest.mark.parametrize("name", methods.ORDER)
def test_a_preset_is_told_by_its_settings(name: str) -> None:
    (experiment,) = load(None, name).experiments()
    assert methods.preset(Record(Path("kept"), {"result_version": 2}, flatten(experiment), {})) == name
