"""What a run's summary.json must hold before anything is made of it, whoever wrote it."""

from typing import Any

from dmdlab.records.kept_json import is_plain

_MEASURED = ("metrics", "own", "steps")
_TABLES = ("teacher", "start", "student", "law", "law_facts", "turns", "within_classes")


def lacking_parts(summary: dict[str, Any]) -> list[str]:
    """What this summary lacks of what its format and its status ask for."""
    teacher = summary["teacher"]
    lacking = [] if isinstance(teacher, dict) and "ok" in teacher else ["teacher.ok"]
    if summary["status"] == "done":
        lacking += [key for key in ("metrics", "student") if not isinstance(summary.get(key), dict)]
        lacking += ["pairs"] if summary["format"] > 1 and not isinstance(summary.get("pairs"), str) else []
    outside = [key for key in ("pairs", "calibration") if summary.get(key) and not is_plain(summary[key])]
    return lacking + [f"a plain name of a file as {key}" for key in outside]  # no path that leads out of the store


def failure_in_words(summary: dict[str, Any]) -> list[str]:
    """Of a failed run: when it failed, and what had failed before its training began."""
    words = [f"The run failed at iteration {summary['failed_at']}."]
    words += [f"Its teacher had failed before: {reason}." for reason in summary["teacher"].get("reasons", [])]
    words += [
        f"Its start network had diverged before: {reason}; lower teacher.learning_rate."
        for reason in summary.get("start", {}).get("reasons", [])
    ]
    return words


def odd_parts(summary: dict[str, Any]) -> list[str]:
    """The entries of this summary that are not of the kind that a row is made of."""
    tables: dict[str, Any] = {key: summary.get(key, {}) for key in (*_MEASURED, *_TABLES)}
    odd = [key for key, table in tables.items() if not isinstance(table, dict)]
    odd += [key for key in _MEASURED if key not in odd and not all(map(_measured, tables[key].values()))]
    within = tables["within_classes"]
    odd += ["within_classes"] if isinstance(within, dict) and not isinstance(within.get("means", {}), dict) else []
    odd += [key for key in ("id", "status") if not isinstance(summary[key], str)]
    words = summary.get("in_words", [])
    return odd + (["in_words"] if not isinstance(words, list) else [])


def _measured(entry: object) -> bool:
    """Whether this is a measure: a number, or None where it is unresolved."""
    if not isinstance(entry, dict) or "value" not in entry:
        return False
    value = entry["value"]
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)
