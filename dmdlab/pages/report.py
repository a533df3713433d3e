"""The page that `dmdlab measure --report` writes: one HTML file with its figures in it, and nothing to fetch."""

import base64
import html
import io

from dmdlab.pages.measurement import Measurement
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
    figures = "\n".join(_figure(drawing) for drawing in _drawings(measurement.pairs))
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in report.notes)
    return _PAGE.format(
        source=html.escape(measurement.source),
        shape=f"{report.n} pairs in {dimensions(report.d)}",
        words="".join(f"<li>{html.escape(sentence)}</li>" for sentence in measurement.in_words()),
        rows="\n".join(_row(line) for line in report.lines()),
        figures=figures,
        notes=f"<h2>Notes on the arrays</h2><ul>{notes}</ul>" if notes else "",
        solvers=html.escape("; ".join(_solver(key, report) for key in report.transport)),
    )


def _drawings(pairs: Pairs) -> list[Drawing]:
    samples = [Sample(pairs, "student against teacher", BLUE)]
    drawings = [draw_heatmaps(samples, ""), draw_ranks(samples, "")]
    return drawings if pairs.one_step is None else [*drawings, draw_displacements(samples, "")]


def _figure(drawing: Drawing) -> str:
    buffer = io.BytesIO()
    drawing.figure.savefig(buffer, format="png", dpi=220, metadata={"Software": None})
    data, width = base64.b64encode(buffer.getvalue()).decode(), round(96 * 1.4 * drawing.figure.get_figwidth())
    caption = html.escape(drawing.caption.strip())
    return (
        f'<figure><img style="width:{width}px" alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _row(line: Line) -> str:
    verdict = html.escape(": ".join(part for part in (line.verdict, line.reason) if part))
    reads_as, kind = html.escape(METRICS[line.key].reads_as), line.verdict.split(" ")[0]
    numbers = "".join(f'<td class="number">{n}</td>' for n in (line.value, line.interval, line.chance, line.best))
    head = f'<th scope="row"><code>{line.key}</code><small>{reads_as}</small></th>'
    return f'<tr class="{kind}">{head}{numbers}<td>{verdict}</td></tr>'


def _solver(key: str, report: PairingReport) -> str:
    solved = report.transport[key]
    exact = "exact" if solved.gap == 0 else f"certified to {percent(solved.gap)}"
    return f"{key} = {solved.cost:.6g} by {solved.solver}, {exact}"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pairing report: {source}</title>
<style>
  body {{ font: 17px/1.5 "Source Serif 4", Georgia, serif; color: #1a1a1a; background: #fff; margin: 0 auto;
         max-width: 62rem; padding: 2.5rem 1.5rem 4rem; }}
  h1 {{ font-size: 1.7rem; line-height: 1.2; margin: 0 0 .2rem; }}
  h2 {{ font-size: 1.2rem; margin: 2.4rem 0 .6rem; }}
  .source {{ color: #555; margin: 0 0 1.6rem; overflow-wrap: anywhere; }}
  .words li {{ margin: .35rem 0; }}
  .wide {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; width: 100%; font-size: .93rem; }}
  th, td {{ text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0; border-bottom: 1px solid #ddd; }}
  thead th {{ border-bottom: 2px solid #333; font-weight: 600; white-space: nowrap; }}
  tbody th {{ font-weight: 400; min-width: 17rem; }}
  tbody th small {{ display: block; color: #666; line-height: 1.3; }}
  .number {{ font-variant-numeric: tabular-nums; white-space: nowrap; }}
  code {{ font: .92em ui-monospace, Menlo, Consolas, monospace; }}
  .saturated td:last-child, .at td:last-child {{ color: #A34700; font-weight: 600; }}
  .unresolved td {{ color: #6E6E6E; }}
  figure {{ margin: 1.5rem 0 2.4rem; }}
  figure img {{ max-width: 100%; height: auto; display: block; }}
  figcaption, .solvers {{ color: #444; font-size: .9rem; margin-top: .5rem; max-width: 46rem; }}
  @media print {{ body {{ padding: 0; font-size: 11pt; }} figure {{ break-inside: avoid; }} }}
</style>
</head>
<body>
<h1>Does the student copy its teacher's pairing?</h1>
<p class="source">{source}: {shape}. Made by dmdlab.</p>
<ul class="words">{words}</ul>
<h2>Every measure</h2>
<div class="wide"><table>
<thead><tr><th>measure</th><th>value</th><th>95 % interval</th><th>random pairing</th><th>perfect copy</th>
<th>verdict at this n and d</th></tr></thead>
<tbody>
{rows}
</tbody></table></div>
<p class="solvers">Verdicts: <em>at chance</em>, a random pairing of these very outputs gives such values;
<em>saturated</em>, the measure has reached its best value although the pairing is not perfect, and says no more.
Transport: {solvers}.</p>
<h2>Figures</h2>
{figures}
{notes}
</body>
</html>
"""
