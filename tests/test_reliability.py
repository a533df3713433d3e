"""The counts of docs/reliability.md are those that are kept."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import reliability  # noqa: E402


def test_the_page_has_the_kept_counts() -> None:
    kept = json.loads(reliability.KEPT.read_text(encoding="utf-8"))
    text = reliability.PAGE.read_text(encoding="utf-8")
    assert reliability.page(text, kept) == text
    faults = [row for row in kept["tests"] if "injected" in row]
    assert all(row["injected"] > 0 == row["lost"] == row["duplicated"] for row in faults)
    assert sum(row.get("cases", 0) for row in kept["tests"]) >= 10_000


def test_the_last_count_of_each_test_is_taken_over() -> None:
    row = {"test": "a", "what": "b", "injected": 3, "lost": 0, "duplicated": 0, "seconds": 1.0}
    fuzz = {"test": "fuzz", "cases": 7, "readers": {"npz": {"read": 3, "refused": 4}}}
    kept = reliability.taken_over([json.dumps(one) for one in (row | {"injected": 1}, row, fuzz)])
    assert [one["test"] for one in kept["tests"]] == ["a", "fuzz"]
    text = reliability.page("x\n<!-- counts -->\nTHE LAST TABLE\n<!-- end of counts -->\ny\n", kept)
    assert "| a | b | 3 | 0 | 0 |" in text
    assert "7 cases, 4 refused in a sentence, 3 read" in text
    assert "THE LAST TABLE" not in text
    assert text.endswith("\ny\n")
    assert reliability.page(text, kept) == text
