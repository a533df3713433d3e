"""The page that `dmdlab measure --report` writes: one HTML file with its figures in it, and nothing to fetch."""

import base64
import io
from typing import Any

from dmdlab.pages.answer import answer
from dmdlab.pages.measurement import Measurement
from dmdlab.pages.templates import HERE, render
from dmdlab.pairing import METRICS, PairingReport, Pairs
from dmdlab.pairing.words import Line, dimensions, percent
from dmdlab.plots.displacement import draw_displacements
from dmdlab.plots.heatmap import draw_heatmaps
from dmdlab.plots.ranks import draw_ranks
from dmdlab.plots.samples import Sample
from dmdlab.plots.style import BLUE, Drawing


def page(measurement: Measurement) -> str:
    """The whole page as text; pictures are embedded PNG."""
    report = measurement.report
    return render(
        "report.html",
        style=(HERE / "report.css").read_text(encoding="utf-8"),
        source=measurement.source,
        shape=f"{report.n} pairs in {dimensions(report.d)}",
        answer=answer(report),
        words=measurement.in_words(),
        rows=[_row(line) for line in report.lines()],
        solvers="; ".join(_solver(key, report) for key in report.transport),
        figures=[_figure(drawing) for drawing in _drawings(measurement.pairs)],
        notes=report.notes,
    )


def _drawings(pairs: Pairs) -> list[Drawing]:
    samples = [Sample(pairs, "student against teacher", BLUE)]
    drawings = [draw_heatmaps(samples, ""), draw_ranks(samples, "")]
    return drawings if pairs.one_step is None else [*drawings, draw_displacements(samples, "")]


def _figure(drawing: Drawing) -> dict[str, Any]:
    buffer = io.BytesIO()
    drawing.figure.savefig(buffer, format="png", dpi=220, metadata={"Software": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"data": data, "width": round(96 * 1.4 * drawing.figure.get_figwidth()), "caption": drawing.caption.strip()}


def _row(line: Line) -> dict[str, Any]:
    return {
        "key": line.key,
        "kind": line.verdict.split(" ")[0],
        "reads_as": METRICS[line.key].reads_as,
        "numbers": (line.value, line.interval, line.chance, line.best),
        "verdict": ": ".join(part for part in (line.verdict, line.reason) if part),
    }


def _solver(key: str, report: PairingReport) -> str:
    solved = report.transport[key]
    exact = "exact" if solved.gap == 0 else f"certified to {percent(solved.gap)}"
    return f"{key} = {solved.cost:.6g} by {solved.solver}, {exact}"
