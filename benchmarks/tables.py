"""The tables of the documents, made from results."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks.growth import Growth
from benchmarks.growth import growth as growth_of
from benchmarks.measure import ratio
from benchmarks.peers import Record, better_jax, fastest, network, own, unsteady
from benchmarks.points import EAGER, GRAPH, JAX, MEMBERS, OWN, PLAIN, PLAIN_COMPILED, RECORDED
from benchmarks.targets import TARGETS, at
from benchmarks.transport import PEERS

Results = dict[str, Any]
NAMES = {MEMBERS: "members e", "network.width": "width", "student.batch": "batch n", "law.dim": "dimension d"}
UNITS = {"share": "", "ms": " ms", "s": " s", "min": " min"}
WHO = (PLAIN, PLAIN_COMPILED, *JAX, *OWN)


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


def spread(found: tuple[float, float, float]) -> str:
    """A median with its least and most over rounds."""
    return "{} ({} ... {})".format(*map(number, found))


def there(records: Sequence[Record]) -> list[str]:
    """Who was measured, in the order of the columns."""
    return [who for who in WHO if any(who in r["seconds"] for r in records)]


def name(who: str) -> str:
    """A contestant in a heading."""
    return f"dmdlab, {who}" if who in OWN else who


def peers(results: Results) -> str:
    """Times of all contestants, dmdlab's ratios to its peers, and what compiling took."""
    records = results["records"]
    who = there(records)
    several = len({r["threads"] for r in records}) > 1  # else the command below says how many
    head = ["network", "e", *(["threads"] if several else []), *(f"{name(each)}, ms" for each in who)]
    ratios = ["plain / dmdlab", "JAX / dmdlab"] if set(who) & set(JAX) else ["plain / dmdlab"]
    rows = [
        [network(r), str(r[MEMBERS]), *([str(r["threads"])] if several else []), *_times(r, who), *_ratios(r)]
        for r in records
    ]
    return markdown([*head, *ratios], rows) + "\n" + _ready(records, who)


def _times(r: Record, who: Sequence[str]) -> list[str]:
    return [number(r["figures"][f"{each}, ms"]) if each in r["seconds"] else "" for each in who]


def _ratios(r: Record) -> list[str]:
    found = []
    for baseline in (PLAIN, better_jax(r)):
        if baseline:
            text = spread(ratio(r["seconds"][baseline], r["seconds"][own(r)]))
            found.append(f"*unsteady* {text}" if baseline in unsteady(r) else text)
    return found


def _ready(records: Sequence[Record], who: Sequence[str]) -> str:
    """Seconds to the first cycle's end of what is compiled: at each network's first point, with one thread."""
    told = []
    for r in {r["point"]: r for r in reversed(records) if r["threads"] == records[0]["threads"]}.values():
        compiled = [each for each in who if each not in (PLAIN, EAGER, RECORDED, GRAPH)]
        each = [f"{name(w)} {_seconds(r['ready_s'][w])}" for w in compiled]
        told += [f"{network(r)}: {'; '.join(each)}"] if each else []
    said = "Seconds until the first cycle was done, compiling included, in the first process and in later ones, which "
    return f"{said}found compiled code in its folder: {'. '.join(reversed(told))}.\n" if told else ""


def _seconds(ready: Sequence[float]) -> str:
    return " / ".join(f"{each:.1f}" for each in (ready[0], min(ready[1:], default=ready[0])))


def targets(results: Results | None, device: str) -> str:
    """Each target at each number of threads, with what was measured and what it would be at the bound."""
    rows = []
    for target in TARGETS[device]:
        wanted = f"{'at least' if target.more else 'at most'} {target.wanted:g}{UNITS.get(target.of, ' x')}"
        wanted += f", least round {target.least:g}" if target.least is not None else ""
        records = list(at(target, results["records"] if results else []))
        for r in records:
            found, said = target.found(r), target.verdict(r)
            bound = target.bound(r) if found else None
            shown = [spread(found) if found else "", said if said == "met" else f"**{said}**"]
            rows.append([target.text, wanted, str(r["threads"]), *shown, number(bound) if bound else ""])
        rows += [] if records else [[target.text, wanted, "", "", "not measured yet", ""]]
    return markdown(["target", "wanted", "threads", "measured (least ... most)", "", "bound"], rows)


def limits(results: Results) -> str:
    """How far everyone is from the machine's fastest products."""
    records = results["records"]
    who = there(records)
    head = ["network", "e", "threads", "fastest product", "GFLOP/s", "floor, ms", *map(name, who)]
    rows = []
    for r in records:
        what, rate = fastest(r)
        shares = [f"{each}, ms" for each in who]
        floor = r["figures"]["floor, ms"]
        told = [percent(floor / r["figures"][key]) if key in r["figures"] else "" for key in shares]
        where = [network(r), str(r[MEMBERS]), str(r["threads"])]
        rows.append([*where, what, number(rate / 1e9), number(floor), *told])
    return markdown(head, rows)


def growth(results: Results) -> str:
    """How a cycle's time grows along each axis."""
    head = ["from", "axis", "range", "points", "who", "exponent (95 %)", "between the last two"]
    return markdown(head, [_growth(g) for g in growth_of(results["records"])])


def _growth(g: Growth) -> list[str]:
    half = "" if math.isnan(g.half) else f" ± {g.half:.2f}"
    reach, points = f"{g.values[0]} ... {g.values[-1]}", str(len(g.values))
    return [g.base, NAMES[g.axis], reach, points, name(g.who), f"{g.slope:.2f}{half}", f"{g.last:.2f}"]


def throughput(results: Results) -> str:
    """The points of the growth, one table for each they start from."""
    text = ""
    for base in dict.fromkeys(r["point"] for r in results["records"]):
        records = [r for r in results["records"] if r["point"] == base]
        first, who = records[0], there(records)
        text += f"From {network(first)}, e = {first[MEMBERS]}, {first['teacher.kind']} teacher:\n\n"
        head = ["setting", *(f"{name(each)}, ms" for each in who), "plain / dmdlab", "student-cycles/s", "GFLOP/s"]
        rows = []
        for r in records:
            setting = f"{NAMES[r['axis']]} = {r[r['axis']]}" if r["axis"] else "**as above**"
            rate = 1e3 / r["figures"][f"{own(r)}, ms"]
            rows.append([setting, *_times(r, who), *_ratios(r), number(rate), number(rate * r["flops"] / 1e9)])
        text += markdown(head, rows) + "\n"
    return text


def counts(results: Results) -> str:
    """What a cycle computes and moves."""
    kinds = list(results["records"][0]["bytes_by_kind"])
    head = ["cycle", "e", "GFLOP", "GB", *(f"{kind}, GB" for kind in kinds), "operations a byte", "operators"]
    rows = []
    for r in results["records"]:
        moved = (number(size / 1e9) for size in (r["figures"]["bytes"], *r["bytes_by_kind"].values()))
        rate = number(r["figures"]["flops_per_byte"])
        rows.append([network(r), str(r[MEMBERS]), number(r["flops"] / 1e9), *moved, rate, str(r["operators"])])
    return markdown(head, rows)


def start(results: Results) -> str:
    """Time to the first step, peak memory."""
    head = ["contestant", "e", "imports, s", "first cycle, s", "without compiled code", "peak, MiB", "planned for, MiB"]
    rows = []
    for r in results["records"]:
        seconds = (f"{r['figures'][key]:.2f}" for key in ("import_s", "first_s", "cold_s"))
        sizes = (r["figures"].get("peak_bytes"), r.get("planned_bytes"))
        memory = ("" if size is None else f"{size / 2**20:.0f}" for size in sizes)
        rows.append([f"{name(r['who'])}: {network(r)}", str(r[MEMBERS]), *seconds, *memory])
    return markdown(head, rows)


def transport(results: Results) -> str:
    """dmdlab's solvers against scipy's, POT's and lapx's."""
    head = ["clouds", "n", "d", "rounds", "dmdlab, ms", *(f"{peer}, ms (ratio)" for peer in PEERS)]
    rows = []
    for r in results["records"]:
        f = r["figures"]
        others = (f"{f[f'{peer}, ms']:.1f} ({f[f'{peer}, ratio']:.1f})" for peer in PEERS)
        rounds = str(len(r["seconds"]["dmdlab"]))
        rows.append([r["clouds"], str(r["n"]), str(r["d"]), rounds, f"{f['dmdlab, ms']:.1f}", *others])
    return markdown(head, rows) + "".join(f"\n{_certified(r)}\n" for r in results["certified"])


def unet(results: Results) -> str:
    """U-Nets against the plain loop, and the ratio that a cycle would reach if it were its products; on a GPU both's
    memory."""
    who = [each for each in there(results["records"]) if each in OWN]
    head = ["network", "e", "plain loop, ms", *(f"{name(each)}, ms" for each in who), "plain / dmdlab"]
    head += ["products, ms", "bound"]
    head += ["plain loop, GiB", "dmdlab, GiB"] if results["device"] == "cuda" else []
    rows = []
    for r in results["records"]:
        f = r["figures"]
        plain, products = f[f"{PLAIN}, ms"], f["products, ms"]
        said = [number(plain), *_times(r, who), *_ratios(r)[:1], number(products), number(plain / products)]
        peaks = r.get("peak_bytes", {})
        said += [number(max(peaks[who]) / 2**30) for who in (PLAIN, own(r)) if who in peaks]
        rows.append([network(r), str(r[MEMBERS]), *said])
    return markdown(head, rows)


def convolution(results: Results) -> str:
    """The ways to convolve at each shape, the quickest in bold."""
    ways = list(results["records"][0]["figures"])
    rows = []
    for r in results["records"]:
        least = min(r["figures"].values())
        times = (f"**{number(ms)}**" if ms == least else number(ms) if ms else "" for ms in map(r["figures"].get, ways))
        layer = f"{r['channels']} to {r['outputs']}", f"{r['kernel']} x {r['kernel']}"
        rows.append([*layer, str(r["side"]), str(r["members"]), *times])
    return markdown(["channels", "kernel", "side", "members", *ways], rows)


def _certified(r: Record) -> str:
    peak = r["peak_bytes"]  # not every system tells
    memory = "" if peak is None else f", {peak / 2**30:.1f} GiB at the peak of its process, imports included"
    return (
        f"Beyond the dense solver, n = {r['n']}, d = {r['d']}: certified interval "
        f"[{r['lower']:.2f}, {r['upper']:.2f}], gap {percent(r['gap'])} (asked for {percent(r['asked_gap'])}), "
        f"{r['seconds']:.0f} s{memory}."
    )


TABLES: dict[str, tuple[str, Callable[[Results], str]]] = {
    "peers": ("peers", peers),
    "targets": ("peers", lambda results: targets(results, results["device"])),
    "limits": ("peers", limits),
    "growth": ("growth", growth),
    "throughput": ("growth", throughput),
    "start": ("start", start),
    "counts": ("counts", counts),
    "transport": ("transport", transport),
    "unet": ("unet", unet),
    "convolution": ("convolution", convolution),
}
"""Table -> the benchmark that has its numbers, and who renders it."""
