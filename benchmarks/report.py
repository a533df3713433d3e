"""The tables of docs/performance.md, from the JSON results: no number there is typed by hand.

    python -m benchmarks.report            # write the tables into the document
    python -m benchmarks.report --check    # exit status 1 when something is wrong, see `faults`

A table stands between `<!-- bench: TABLE DEVICE -->` and `<!-- end -->`. Without results for it, the document says "not
measured yet"; a table made from results of an older form stays until they are measured again.
"""

import argparse
import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import limits as limits_of
from benchmarks import start as start_of
from benchmarks import targets as targets_of
from benchmarks import throughput as throughput_of
from benchmarks import transport as transport_of
from benchmarks.growth import Growth, growth
from benchmarks.measure import FORM

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- bench: (?P<table>\w+) (?P<device>\w+) -->\n)(?P<body>.*?)(<!-- end -->)", re.DOTALL)
NOT_YET = "Not measured yet.\n"

Results = dict[str, Any]
Record = dict[str, Any]
NAMES = {
    "members": "members e",
    "network.width": "width",
    "student.batch": "batch n",
    "law.dim": "dimension d",
    "cycle": "a cycle",
    "teacher": "an iteration of teacher training",
    "flow": "Phi_K",
}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(value: float) -> str:
    """Three significant digits, and no fewer than the whole part."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def percent(share: float) -> str:
    """A share as '12 %'."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def spread(record: Record, key: str = "ratio", show: Callable[[float], str] = "{:.2f}".format) -> str:
    """The ratio with its least and most over rounds."""
    return f"{show(record[key])} ({show(record[f'{key}_least'])} ... {show(record[f'{key}_most'])})"


def _size(r: Record) -> str:
    """'mlp 384 x 5, d = 4'."""
    return f"{r['network.kind']} {r['network.width']} x {r['network.depth']}, d = {r['law.dim']}"


def _network(r: Record) -> str:
    """'mlp 384 x 5, d = 4, n = 512, k = 5'."""
    return f"{_size(r)}, n = {r['student.batch']}, k = {r['fake_score.updates']}"


def throughput(results: Results) -> str:
    """One table a base point: the base, then each axis."""
    text = ""
    for base in dict.fromkeys(r["base"] for r in results["records"]):
        own = [r for r in results["records"] if r["base"] == base and r["work"] == "cycle"]
        origin = own[0]
        text += f"From {_network(origin)}, e = {origin['members']}, {origin['teacher.kind']} teacher, "
        text += f"{origin['network.precision']}:\n\n"
        rows = [_point(r) for r in own]
        head = ["setting", "way", "plain, ms", "dmdlab, ms", "ratio (least ... most)", "student-cycles/s", "GFLOP/s"]
        text += markdown(head, rows) + "\n"
    return text


def _point(r: Record) -> list[str]:
    setting = f"{NAMES[r['axis']]} = {r[r['axis']]}" if r["axis"] else "**as above**"
    if not r["fits"]:
        return [setting, r["way"], "", "does not fit", "", "", ""]
    times = [number(r["plain_ms"]), number(r["own_ms"] / r["members"])]
    return [setting, r["way"], *times, spread(r), number(r["students_per_s"]), number(r["flops_per_s"] / 1e9)]


def stages(results: Results) -> str:
    """Teacher training and Phi_K at the base points."""
    head = ["work", "network", "e", "way", "precision", "plain, ms", "dmdlab, ms", "ratio (least ... most)", "GFLOP/s"]
    return markdown(head, [_stage(r) for r in results["records"] if r["work"] != "cycle" and r["fits"]])


def _stage(r: Record) -> list[str]:
    rows = r["measure.samples"] if r["work"] == "flow" else r["teacher.batch"]
    work = f"{NAMES[r['work']]}, n = {rows}"
    times = number(r["plain_ms"]), number(r["own_ms"] / r["members"])
    return [
        work,
        _size(r),
        str(r["members"]),
        r["way"],
        r["network.precision"],
        *times,
        spread(r),
        number(r["flops_per_s"] / 1e9),
    ]


def exponents(results: Results) -> str:
    """How a cycle's time grows along each axis."""
    head = ["from", "axis", "range", "points", "who", "exponent (95 %)", "between the last two"]
    return markdown(head, [_growth(g) for g in growth(results["records"])])


def _growth(g: Growth) -> list[str]:
    half = "" if math.isnan(g.half) else f" ± {g.half:.2f}"
    reach, points = f"{g.values[0]} ... {g.values[-1]}", str(len(g.values))
    return [g.base, NAMES[g.axis], reach, points, g.who, f"{g.slope:.2f}{half}", f"{g.last:.2f}"]


def limits(results: Results) -> str:
    """Everyone at each base point, and the yardsticks."""
    text = ""
    for base in dict.fromkeys(r["base"] for r in results["records"]):
        own = [r for r in results["records"] if r["base"] == base]
        rates = {r["network.precision"]: r["product_flops_per_s"] for r in own}
        told = ", ".join(f"{p} {rate / 1e9:.0f} GFLOP/s" for p, rate in rates.items())
        members = max(r["members"] for r in own)
        text += f"{base}: {_network(own[0])}, e = {members} of dmdlab's. Large product: {told}; copy: "
        text += f"{own[0]['copy_bytes_per_s'] / 1e9:.1f} GB/s.\n\n"
        head = ["who", "ms a student", "ratio (least ... most)", "bound", "of the product", "of its shapes"]
        head += ["outside products", "optimiser's bytes"]
        text += markdown(head, [_limit(r) for r in own]) + "\n"
    return text


def _limit(r: Record) -> list[str]:
    keys = ("share_of_product", "share_of_shapes", "outside_products", "optimiser_bytes_share")
    return [
        r["who"],
        number(r["ms"] / r["members"]),
        spread(r),
        f"{r['bound']:.2f}",
        *(percent(r[key]) for key in keys),
    ]


def counts(results: Results) -> str:
    """What a cycle computes and moves."""
    kinds = list(results["records"][0]["bytes_by_kind"])
    head = ["cycle", "e", "GFLOP", "GB", *(f"{kind}, GB" for kind in kinds), "operators"]
    return markdown(head, [_count(r) for r in results["records"]])


def _count(r: Record) -> list[str]:
    moved = (number(size / 1e9) for size in r["bytes_by_kind"].values())
    return [
        _network(r),
        str(r["members"]),
        number(r["flops"] / 1e9),
        number(r["bytes"] / 1e9),
        *moved,
        str(r["operators"]),
    ]


def start(results: Results) -> str:
    """Time to first step, peak memory."""
    head = ["contestant", "e", "imports, s", "build, s", "first cycle, s", "ready, s", "peak, MiB", "planned for, MiB"]
    return markdown(head, [_start(r) for r in results["records"]])


def _start(r: Record) -> list[str]:
    seconds = (f"{r[key]:.2f}" for key in ("import_s", "build_s", "first_s", "ready_s"))
    planned = _mib(r["planned_bytes"]) if "planned_bytes" in r else ""
    peak = _mib(r["peak_bytes"]) if "peak_bytes" in r else ""  # not every system tells
    return [f"{r['way']}: {_network(r)}", str(r["members"]), *seconds, peak, planned]


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f}"


def transport(results: Results) -> str:
    """dmdlab's solvers against scipy's, POT's and lapx's."""
    head = ["clouds", "n", "d", "rounds", "dmdlab, ms", "scipy, ms (ratio)", "POT, ms (ratio)", "lapx, ms (ratio)"]
    text = markdown(head, [_clouds(r) for r in results["records"]])
    for r in results["certified"]:
        text += (
            f"\nBeyond the dense solver, n = {r['n']}, d = {r['d']}: certified interval [{r['lower']:.2f}, "
            f"{r['upper']:.2f}], gap {percent(r['gap'])} (asked for {percent(r['asked_gap'])}), {r['seconds']:.0f} s"
        )
        peak = r["peak_bytes"]  # not every system tells
        text += ".\n" if peak is None else f", {peak / 2**30:.1f} GiB at the peak of its process, imports included.\n"
    return text


def _clouds(r: Record) -> list[str]:
    others = (f"{r[f'{other}_ms']:.1f} ({r[f'{other}_ratio']:.1f})" for other in transport_of.PEERS)
    return [r["clouds"], str(r["n"]), str(r["d"]), str(len(r["dmdlab_s"])), f"{r['dmdlab_ms']:.1f}", *others]


def targets(results: Results | None, device: str) -> str:
    """Each measured target beside what was wanted of it then, and each that was not measured."""
    records = results["records"] if results else []
    rows = [[r["target"], _wanted(r), *_target(r)] for r in records]
    for target in targets_of.TARGETS[device]:
        if all(r["target"] != target.text for r in records):
            rows.append([target.text, _wanted(vars(target)), "", "not measured yet", "", ""])
    return markdown(["target", "wanted", "precision", "measured (least ... most)", "", "how"], rows)


def _wanted(r: Mapping[str, Any]) -> str:
    return f"{'at least' if r['least'] else 'at most'} {r['wanted']:g} {r['unit']}".strip()


def _target(r: Record) -> list[str]:
    said, how = targets_of.verdict(r), r["how"]
    if "same" in r:
        how += f"; {spread(r, 'same')} against it in {r['precision']}"
    if "bound" in r:
        how += f"; bound {r['bound']:.2f}"
    return [
        r["precision"],
        f"{spread(r, 'measured', number)} {r['unit']}",
        said if said == "met" else f"**{said}**",
        how,
    ]


TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "throughput": ("throughput", throughput),
    "stages": ("throughput", stages),
    "growth": ("throughput", exponents),
    "limits": ("limits", limits),
    "counts": ("counts", counts),
    "start": ("start", start),
    "transport": ("transport", transport),
    "targets": ("targets", lambda results: targets(results, results["device"])),
}
"""Table -> the benchmark that has its numbers, and who renders it."""

FIGURES: dict[str, Callable[[Record], dict[str, float]]] = {
    "throughput": throughput_of.figures,
    "limits": limits_of.shares,
    "counts": lambda record: {"bytes": sum(record["bytes_by_kind"].values())},
    "start": start_of.medians,
    "transport": transport_of.figures,
    "targets": targets_of.figures,
}
"""What each benchmark computes from a record's rounds."""


def origin(results: Results) -> str:
    """Where the numbers above it come from."""
    versions = ", ".join(f"{k} {v}" for k, v in results["versions"].items() if k != "dmdlab")
    threads = sorted({r.get("threads") or results["threads"] for r in results["records"]})
    each = f"{' or '.join(map(str, threads))} thread{'s' if threads[-1] > 1 else ''} a process"
    load = f"load average {results['load']:.1f} when it began, " if results.get("load") is not None else ""
    return (
        f"\n`{results['command']}`: {results['hardware']}, {results['cores']} cores, {each}, {load}"
        f"{results['seconds'] / 60:.1f} min; commit {results['commit']}; {results['seeds']}; {versions}.\n"
    )


def render(table: str, device: str, folder: Path) -> str | None:
    """The text between two markers; None when the results are of an older form."""
    benchmark, make = TABLES[table]
    path = folder / f"{benchmark}-{device}.json"
    if not path.is_file():
        return targets(None, device) if table == "targets" else NOT_YET
    results = json.loads(path.read_text(encoding="utf-8"))
    return make(results).rstrip("\n") + "\n" + origin(results) if results.get("form") == FORM else None


def written(document: str, folder: Path) -> str:
    """The document with every table made anew from the results in `folder`."""

    def body(m: re.Match[str]) -> str:
        made = render(m["table"], m["device"], folder)
        return m["body"] if made is None else made

    return BLOCK.sub(lambda m: m[1] + body(m) + m[5], document)


def faults(results: Results) -> Iterator[str]:
    """What is wrong with a file of results: of an older form, measured with --quick or with changes that no commit has,
    figures that its rounds do not give, target rows that would be written by now."""
    if results.get("form") != FORM:
        yield "of an older form: measure again"
        return
    if results["quick"]:
        yield "measured with --quick"
    if results["commit"].endswith("+changes"):
        yield f"measured at {results['commit']}: commit first, then measure"
    for i, record in enumerate(results["records"]):
        if record.get("fits", True):
            for key, value in FIGURES[results["benchmark"]](record).items():
                if not math.isclose(record[key], value, rel_tol=1e-9):
                    yield f"record {i}: {key} is {record[key]}, but its rounds give {value}"
    if results["benchmark"] == "targets":
        yield from (f"lacks a row: {each}" for each in targets_of.missing(results))


def main() -> None:
    """Write the document, or check it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    before = DOCUMENT.read_text(encoding="utf-8")
    after = written(before, given.results)
    files = [(path.name, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(given.results.glob("*.json"))]
    found = [f"{name}: {fault}" for name, results in files for fault in faults(results)]
    if given.check and before != after:
        found.append(f"{DOCUMENT.name}: not the tables of {given.results}")
    print(*found, sep="\n", end="\n" if found else "", file=sys.stderr)
    if given.check:
        sys.exit(bool(found))
    DOCUMENT.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
