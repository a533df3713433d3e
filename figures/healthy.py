"""What a healthy run looks like: the figures and the tables of docs/healthy-runs.md.

    dmdlab sweep experiments/healthy/mixture-8.toml --out runs/healthy/mixture-8      # and the others in that folder
    .venv/bin/python figures/healthy.py

Keeps what runs/healthy/<experiment> holds, where it is there, as healthy.csv, stability.csv and healthy.json beside
this file, and makes everything else from these: healthy.pdf, .png, .txt, stability.pdf, .png, .txt, and the page's
tables.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from healthy_figure import GANS, cell_of, curves_figure, healthy, map_figure, verdicts
from healthy_kept import CUT, KINDS, TUNED, Kept, kept, kept_map, provenance, read, read_map, read_provenance
from tables import replaced, table

from dmdlab.diagnosis import BOUNDS, COLUMNS, VERDICTS, diagnose, evidence
from dmdlab.pairing.words import number
from dmdlab.plots.style import Drawing, save
from dmdlab.records.record import load_records

HERE = Path(__file__).resolve().parent
RUNS, PAGE = HERE.parent / "runs" / "healthy", HERE.parent / "docs" / "healthy-runs.md"
EXPERIMENTS = {
    "mixture-8": "mixture, d = 8",
    "lost-8": "mixture of eight, d = 8",
    "mixture-32": "another mixture, d = 32",
    "ring-2": "ring, d = 2",
    "ring-2-long": "ring, d = 2, five times the updates",
    "sphere-8": "sphere, d = 8",
    "cube-16": "cube, d = 16",
}
MAP = "stability"
SEEN = ("score_excess", "student_step", "gan_share", "variance_ratio", "fidelity", "coverage", "lost")
MADE = ("hardware", "commit")
FILES = ("healthy.csv", "stability.csv", "healthy.json")


def number_lines(runs: Sequence[Kept]) -> list[str]:
    """The evidence of each kind, median and range over its runs."""
    rows = []
    for kind, name in KINDS.items():
        own = [evidence(run.curve) for run in runs if run.kind == kind]
        if own:
            rows.append([name, *(_range([at[key] for at in own if key in at]) for key in SEEN)])
    return table(["made to be", *SEEN], rows)


def _range(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return f"{number(float(middle))} ({number(float(low))} to {number(float(high))})"


def bound_lines() -> list[str]:
    """What decides."""
    rows = [[name, f"{bound.value:g}", bound.parts, bound.carries] for name, bound in BOUNDS.items()]
    return table(["bound", "value", "parts", "carries"], rows)


def column_lines() -> list[str]:
    """The columns that a csv may have."""
    return table(["column", "what it is"], [[f"`{name}`", text] for name, text in COLUMNS.items()])


def confusion(runs: Sequence[Kept]) -> list[str]:
    """A row for each kind that runs were made to be, a column for each verdict that was given."""
    named = [(run.kind, diagnose(run.curve).verdict) for run in runs if run.kind in KINDS]
    given = [v for v in VERDICTS if any(v == verdict for _, verdict in named)]
    rows = []
    for kind in (kind for kind in KINDS if any(kind == made for made, _ in named)):
        counts = [sum(pair == (kind, verdict) for pair in named) for verdict in given]
        cells = [f"**{n}**" if n and v == kind else str(n or "") for n, v in zip(counts, given, strict=True)]
        rows.append([kind, *cells])
    right = sum(kind == verdict for kind, verdict in named)
    return [*table(["made to be \\ named", *given], rows), "", f"{right} of {len(named)} are named as they were made."]


def parts(runs: Sequence[Kept]) -> dict[str, list[Kept]]:
    """The runs that bounds were read off, and the held-out ones: other seeds, and each other law."""
    found = {"tuned on": [run for run in runs if run.tuned_on]}
    found["other seeds"] = [run for run in runs if run.experiment in TUNED and not run.tuned_on]
    return found | {name: [run for run in runs if run.experiment == name] for name in EXPERIMENTS if name not in TUNED}


def confusion_lines(runs: Sequence[Kept]) -> list[str]:
    """The confusion of each part."""
    lines: list[str] = []
    for name, own in parts(runs).items():
        if own:
            count = sum(run.kind in KINDS for run in own)
            lines += [f"**{EXPERIMENTS.get(name, name)}** ({count} runs)", "", *confusion(own), ""]
    return lines[:-1]


def missed_lines(runs: Sequence[Kept]) -> list[str]:
    """Each held-out run that is named otherwise, and why."""
    lines = []
    for run in runs:
        found = diagnose(run.curve)
        if run.kind in KINDS and found.verdict != run.kind:
            seen = " (tuned on)" if run.tuned_on else ""
            lines.append(f"- {run.curve.source}{seen}: {found.verdict}: {' '.join(found.reasons)}")
    return lines or ["None."]


def cut_lines(runs: Sequence[Kept]) -> list[str]:
    """What runs without high noise resemble, and how far they are from the law."""
    own = [run for run in runs if run.kind.startswith(CUT)]
    counts = Counter(diagnose(run.curve).verdict for run in own)
    at = [evidence(run.curve) for run in own]
    named = ", ".join(f"{verdict} {count}" for verdict, count in sorted(counts.items()))
    told = (
        "; ".join(f"{key} {_range([a[key] for a in at])}" for key in ("variance_ratio", "lost", "fidelity"))
        if at
        else ""
    )
    return [f"{len(own)} runs: {named}. {told}."]


def map_lines(rows: Sequence[Mapping[str, float]]) -> list[str]:
    """Fidelity of each cell, how many of its seeds are healthy, and what the others are called."""
    rates = sorted({row["student.learning_rate"] for row in rows})
    lines = []
    for gan in sorted({row["terms.gan.weight"] for row in rows}):
        for k in sorted({row["fake_score.updates"] for row in rows}):
            cells = [_cell(cell_of(rows, rate, k, gan)) for rate in rates]
            lines.append([GANS.get(gan, f"{gan:g}"), f"{k:g}", *cells])
    return table(["GAN", "fake-score updates", *(f"rate {rate:g}" for rate in rates)], lines)


def _cell(rows: Sequence[Mapping[str, float]]) -> str:
    others = sorted({verdict for verdict in verdicts(rows) if verdict != "healthy"})
    fidelity = _range([row["fidelity"] for row in rows if row["fidelity"] == row["fidelity"]])
    return f"{healthy(rows)}/{len(rows)}; {fidelity}" + (f"; {', '.join(others)}" if others else "")


def made_lines(about: Mapping[str, Any]) -> list[str]:
    """How everything was made."""
    lines = []
    for name, own in about.items():
        lines.append(
            f"- `dmdlab sweep experiments/healthy/{name}.toml --out runs/healthy/{name}`: {own['runs']} runs, seeds "
            f"{own['seeds'][0]} to {own['seeds'][-1]}, n = {', '.join(map(str, own['samples']))}, "
            f"{own['minutes']} minutes of wall clock on a shared core; {', '.join(own['hardware'])}; commit "
            f"{', '.join(own['commit'])}."
        )
    return lines


def page(text: str, runs: Sequence[Kept], rows: Sequence[Mapping[str, float]], about: Mapping[str, Any]) -> str:
    """The page's text with its tables."""
    tuned = [run for run in runs if run.tuned_on]
    blocks = {
        "columns": column_lines(),
        "bounds": bound_lines(),
        "numbers": number_lines(tuned),
        "confusion": confusion_lines(runs),
        "missed": missed_lines(runs),
        "cut": cut_lines(runs),
        "made": made_lines(about),
    }
    if rows:
        blocks["map"] = map_lines(rows)
    for name, lines in blocks.items():
        text = replaced(text, name, lines)
    return text


def stored() -> tuple[list[Kept], list[dict[str, float]], dict[str, Any]]:
    """What is kept: the runs, the map's rows, and how they were made."""
    curves, rows, about = (HERE / name for name in FILES)
    found = read_map(rows.read_text(encoding="utf-8")) if rows.is_file() else []
    return read(curves.read_text(encoding="utf-8")), found, read_provenance(about)


def keep() -> None:
    """Keep what is there of the runs, and how they were made; all experiments, or none."""
    found = {n: load_records(RUNS / n) for n in (*EXPERIMENTS, MAP) if (RUNS / n / "runs").is_dir()}
    if not found:
        return
    curves, rows, about = (HERE / name for name in FILES)
    curves.write_text(kept([(n, r) for n, own in found.items() if n != MAP for r in own]), encoding="utf-8")
    if MAP in found:
        rows.write_text(kept_map(found[MAP]), encoding="utf-8")
    about.write_text(provenance(found), encoding="utf-8")


def said(drawing: Drawing, names: Sequence[str], about: dict[str, Any]) -> Drawing:
    """The same, whose caption names laws, n, hardware and commit of these experiments, too."""
    laws = "; ".join(f"{name}: {EXPERIMENTS[name]}" for name in names if name in EXPERIMENTS)
    found = {key: sorted({str(v) for name in names for v in about[name][key]}) for key in ("samples", *MADE)}
    n, hardware, commits = (", ".join(values) for values in found.values())
    told = f"{f'Laws: {laws}. ' if laws else ''}n = {n} in each measurement. Made on {hardware}, commit {commits}."
    return replace(drawing, caption=f"{drawing.caption} {told}")


def main() -> None:
    """Keep what is there, and write figures and page."""
    keep()
    runs, rows, about = stored()
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), runs, rows, about), encoding="utf-8")
    save(said(curves_figure([run for run in runs if run.tuned_on]), TUNED, about), HERE / "healthy")
    if rows:
        save(said(map_figure(rows), [MAP], about), HERE / MAP)


if __name__ == "__main__":
    main()
