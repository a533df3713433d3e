"""The tables of docs/performance.md and docs/performance-more.md, from the JSON results: none is typed by hand.

    python -m benchmarks.report            # write the tables into the documents
    python -m benchmarks.report --check    # exit status 1 when something is wrong, see `faults`

A table stands between `<!-- bench: TABLE DEVICE -->` and `<!-- end -->`. Without results for it, the document says "not
measured yet".
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import tables
from benchmarks import targets as targets_of
from benchmarks.measure import FORM
from benchmarks.suite import BENCHMARKS, RESULTS
from benchmarks.tables import TABLES, Results

DOCUMENTS = [Path(__file__).resolve().parents[1] / "docs" / name for name in ("performance.md", "performance-more.md")]
BLOCK = re.compile(r"(<!-- bench: (?P<table>\w+) (?P<device>\w+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"


def origin(results: Results) -> str:
    """Where the numbers above it come from."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if k != "dmdlab")
    threads = sorted({r.get("threads", results["threads"]) for r in results["records"]})
    each = f"{' or '.join(map(str, threads))} thread{'s' if threads[-1] > 1 else ''} a process"
    load = f"load average {results['load']:.1f} when it began, " if results["load"] is not None else ""
    return (
        f"\n`{results['command']}`: {results['hardware']}, {results['cores']} cores, {each}, {load}"
        f"{results['seconds'] / 60:.1f} min; commit {results['commit']}; {results['seeds']}; {versions}.\n"
    )


def render(table: str, device: str, folder: Path) -> str:
    """The text between two markers."""
    benchmark, make = TABLES[table]
    path = folder / f"{benchmark}-{device}.json"
    if not path.is_file():
        return tables.targets(None, device) if table == "targets" else NOT_YET
    results = json.loads(path.read_text(encoding="utf-8"))
    return make(results).rstrip("\n") + "\n" + origin(results) if results.get("form") == FORM else NOT_YET


def written(document: str, folder: Path) -> str:
    """The document with every table made anew from the results in `folder`."""
    return BLOCK.sub(lambda m: m[1] + render(m["table"], m["device"], folder) + m[5], document)


def faults(results: Results) -> Iterator[str]:
    """What is wrong with a file of results: of an older form, measured with --quick or with changes that no commit has,
    figures that its rounds do not give, targets that its points do not tell."""
    if results.get("form") != FORM:
        yield "of an older form: measure again"
        return
    if results["quick"]:
        yield "measured with --quick"
    if results["commit"].endswith("+changes"):
        yield f"measured at {results['commit']}: commit first, then measure"
    for i, record in enumerate(results["records"]):
        found = BENCHMARKS[results["benchmark"]].figures(record)
        for key in sorted(found.keys() | record["figures"].keys()):
            said, value = record["figures"].get(key, math.nan), found.get(key, math.nan)
            if not math.isclose(said, value, rel_tol=1e-9):
                yield f"record {i}: {key} is {said}, but its rounds give {value}"
    if results["benchmark"] == "peers":
        lacking = targets_of.missing(results["device"], results["records"])
        yield from (f"tells nothing of a target: {each}" for each in lacking)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the documents, or check them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    files = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(given.results.glob("*.json"))]
    found = [f"{name}: {fault}" for name, results in files for fault in faults(results)]
    for path in DOCUMENTS:
        before = path.read_text(encoding="utf-8")
        after = written(before, given.results)
        if given.check and before != after:
            found.append(f"{path.name}: not the tables of {given.results}")
        elif not given.check:
            path.write_text(after, encoding="utf-8")
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    if given.check:
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
