"""A U-Net against an MLP of equal parameters, from teachers of several ages (docs/answers.md)."""

from collections.abc import Mapping, Sequence

from answers_dimension import begun, begun_angles, lost_since, more_of, plain, thousandths
from answers_numbers import Contrast, by_keys, contrast, contrast_of, corrected, in_words, near, steps
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator
from tables import table

from dmdlab.pairing import Interval, mean_interval
from dmdlab.pairing.law import LAW_KEYS
from dmdlab.pairing.words import number
from dmdlab.plots.style import GREY, PAPER, Drawing, LineStyle, new_figure
from dmdlab.records.cells import Cell, cell_value, cells, short
from dmdlab.records.record import Record

NETWORKS, FITTED_NETWORKS, BETWEEN = "architecture-quality", "architecture-regressed", "architecture-between"
LONGER, LENGTHS = "architecture-longer", "fit-length"
OF_NETWORKS = (NETWORKS, FITTED_NETWORKS, BETWEEN, LONGER, LENGTHS)
"""The experiments: from the teachers' one step; from fits to their pairs, and longer from the one step; from fits that
are cut short; longer from these; from long fits to few pairs that begin where the cut ones do."""

SETTINGS = ("network.kind", "teacher.iterations", "student.learning_rate", "student.iterations")
STYLES = {
    "unet": LineStyle("U-Net", "#0072B2", "o", "-"),
    "residual": LineStyle("MLP", "#D55E00", "s", "-"),
}
ONE_STEP, FIT = "from one step", "from a fit"
LINES = {ONE_STEP: ("-", "o"), FIT: ("--", "^")}
"""How panel (c) draws students of either start."""

AGAINST = (
    ((1500, 5e-4, 1000), (3000, 5e-4, 1000)),
    ((1500, 5e-4, 1000), (6000, 5e-4, 1000)),
    ((1500, 5e-4, 1000), (24000, 5e-4, 1000)),
    ((6000, 5e-4, 1000), (6000, 5e-4, 1000)),
    ((6000, 5e-4, 1000), (24000, 5e-4, 1000)),
    ((6000, 5e-4, 1000), (24000, 5e-4, 4000)),
    ((6000, 5e-4, 4000), (24000, 5e-4, 4000)),
    ((6000, 2e-4, 1000), (24000, 2e-4, 1000)),
)
"""Cells of the U-Net and the MLP that are set against each other: teacher's iterations, learning rate, student's
iterations."""

Place = tuple[int, float, int]
FIT_SETTINGS = ("network.kind", "student.regression", "student.learning_rate", "student.iterations")
EQUAL = (
    ((3000, 2e-4, 1000), (4000, 2e-4, 1000)),
    ((3000, 5e-4, 1000), (4000, 5e-4, 1000)),
    ((3000, 5e-4, 4000), (4000, 5e-4, 4000)),
    ((800, 5e-4, 1000), (3000, 5e-4, 1000)),
)
"""Cells of fitted starts that are set against each other: fit's iterations, learning rate, student's iterations."""

CUT = (
    ((60, 5e-4, 1000), (1200, 5e-4, 1000)),
    ((40, 5e-4, 1000), (120, 5e-4, 1000)),
    ((30, 5e-4, 1000), (60, 5e-4, 1000)),
    ((60, 5e-4, 4000), (1200, 5e-4, 4000)),
    ((40, 5e-4, 4000), (120, 5e-4, 4000)),
    ((30, 5e-4, 4000), (60, 5e-4, 4000)),
)
"""The same of fits that are cut short."""

LENGTH_SETTINGS = ("network.kind", "student.regression", "student.pairs")
OTHER_LENGTHS = (
    (("residual", 1200, 64), ("residual", 60, 16384)),
    (("residual", 4000, 60), ("residual", 60, 16384)),
    (("residual", 1200, 152), ("residual", 120, 16384)),
    (("residual", 4000, 144), ("residual", 120, 16384)),
    (("residual", 4000, 352), ("residual", 1200, 16384)),
    (("unet", 800, 4), ("unet", 40, 16384)),
)
"""Long fits to few pairs, and the fits cut short that begin about where they do: network, iterations, pairs."""

START = "own_pair_cosine_start"
"""The column of the pair_cosine of the teacher's one step, where students start, with its flow."""


def from_one_step(found: Mapping[str, Sequence[Record]]) -> list[Cell]:
    """The cells of both experiments whose students start at their teacher's one step, rotated or not."""
    runs = [record for name in (NETWORKS, FITTED_NETWORKS) for record in found.get(name, ())]
    return cells([record for record in runs if record.config["student.init"] in ("teacher", "rotated")])


def from_fits(found: Mapping[str, Sequence[Record]]) -> list[Cell]:
    """Those that start at fits to their teacher's pairs."""
    runs = [record for name in (FITTED_NETWORKS, BETWEEN, LONGER) for record in found.get(name, ())]
    return cells([record for record in runs if record.config["student.init"] == "regressed"])


def fitted_network_lines(found: Sequence[Cell], pairs: Sequence[tuple[Place, Place]] = EQUAL) -> list[str]:
    """From fits that begin about equally near in both networks: where they begin and end, and how much more the MLP's
    lose, in degrees, with Holm's p, and in thousandths of Lambda, paired over seeds."""
    held, rows = by_keys(found, *FIT_SETTINGS), []
    own_pairs = [(held["unet", *a], held["residual", *b]) for a, b in pairs]
    more = corrected([_more_lost(unet, mlp) for unet, mlp in own_pairs])
    for (unet, mlp), of_degrees in zip(own_pairs, more, strict=True):
        fits = [str(cell.value("student.regression")) for cell in (unet, mlp)]
        row = [", ".join(fits), short(unet.value(SETTINGS[2])), str(steps(unet.records[0]))]
        for cell in (unet, mlp):
            row += [begun(cell), cell_value(cell, "remap_angle"), cell_value(cell, "debiased_cost")]
        own = [lost_since(cell, thousandths) for cell in (unet, mlp)]
        row += [in_words(of_degrees.difference), number(of_degrees.holm)]
        row += [*(in_words(mean_interval(list(part.values()))) for part in own), in_words(more_of(*own))]
        rows.append([*row, str(of_degrees.difference.n)])
    head = ["fit's iterations: U-Net, MLP", "learning rate", "student updates"]
    for name in ("U-Net", "MLP"):
        head += [f"{name}: begins, degrees (variance ratio)", "ends", "debiased_cost"]
    head += ["MLP loses more, degrees", "p (Holm)", "1000 Lambda lost: U-Net", "MLP", "more", "seeds"]
    return table(head, rows)


def _more_lost(unet: Cell, mlp: Cell) -> Contrast:
    """What the MLP's training lost of its start, degrees, less what the U-Net's did of its own."""
    few, many = lost_since(unet, plain), lost_since(mlp, plain)
    return contrast_of((), [many[seed] - few[seed] for seed in few if seed in many])


def length_lines(long: Sequence[Cell], cut: Sequence[Cell]) -> list[str]:
    """Long fits to few pairs against fits cut short: where students begin and end, and how much farther, paired over
    seeds, those of the long fits do, with Holm's p of the ends."""
    held = by_keys([*long, *cut], *LENGTH_SETTINGS)
    pairs = [(held[a], held[b]) for a, b in OTHER_LENGTHS]
    ends = corrected([contrast((), a, b) for a, b in pairs])
    rows = []
    for (a, b), end in zip(pairs, ends, strict=True):
        row = [STYLES[str(a.value(LENGTH_SETTINGS[0]))].label]
        for cell in (a, b):
            row += [f"{cell.value(LENGTH_SETTINGS[1])}, {cell.value(LENGTH_SETTINGS[2])}", begun(cell)]
            row += [cell_value(cell, "remap_angle"), cell_value(cell, "debiased_cost")]
        start = more_of(*(begun_by_seed(cell) for cell in (b, a)))
        rows.append([*row, in_words(start), in_words(end.difference), number(end.holm), str(end.difference.n)])
    head = ["network"]
    for name in ("long fit", "cut short"):
        head += [f"{name}: iterations, pairs", "begins, degrees (variance ratio)", "ends", "debiased_cost"]
    return table([*head, "long fits begin farther", "end farther", "p (Holm)", "seeds"], rows)


def begun_by_seed(cell: Cell) -> dict[int, float]:
    """Where each seed's student of a cell begins, degrees."""
    return {int(r.config["seed"]): angle for r, angle in zip(cell.records, begun_angles(cell), strict=True)}


def network_lines(found: Sequence[Cell]) -> list[str]:
    """Every cell: how good its teachers and students are, and what they lost, beside the rotated starts."""
    turned = by_keys([cell for cell in found if cell.init == "rotated"], *SETTINGS)
    own, rows = by_keys([cell for cell in found if cell.init == "teacher"], *SETTINGS), []
    for place in sorted(own, key=lambda place: (list(STYLES).index(str(place[0])), *place[1:])):
        kind, age, rate, _ = place
        cell, rotated = own[place], turned[place]
        row = [STYLES[str(kind)].label, str(age), cell_value(cell, "teacher_transport_ratio"), cell_value(cell, START)]
        row += [short(rate), str(steps(cell.records[0])), cell_value(cell, "remap_angle")]
        row += [cell_value(rotated, key) for key in ("own_angle", "remap_angle")]
        rows.append([*row, *(cell_value(cell, key) for key in LAW_KEYS)])
    head = ["network", "teacher's iterations", "its cost", "start's pair_cosine", "learning rate", "student updates"]
    head += ["angle", "rotated: its own pairing", "to the teacher", *LAW_KEYS]
    return table(head, rows)


def against_lines(found: Sequence[Cell]) -> list[str]:
    """The MLP's angle less the U-Net's, paired over seeds, with Holm's p."""
    held = by_keys([cell for cell in found if cell.init == "teacher"], *SETTINGS)
    pairs = [(held["unet", *a], held["residual", *b]) for a, b in AGAINST]
    rows = [
        [*_quality(unet), *_quality(mlp), in_words(c.difference), str(c.difference.n), number(c.holm)]
        for (unet, mlp), c in zip(pairs, corrected([contrast((), b, a) for a, b in pairs]), strict=True)
    ]
    head = [
        f"{name}: {what}"
        for name in ("U-Net", "MLP")
        for what in ("teacher's iterations, rate, updates", "teacher's cost, debiased_cost")
    ]
    return table([*head, "MLP's angle less the U-Net's", "seeds", "p (Holm)"], rows)


def _quality(cell: Cell) -> list[str]:
    """Which cell it is; what its teachers' outputs cost to match with data, beside other data; its debiased_cost."""
    age, rate, _ = (cell.value(key) for key in SETTINGS[1:])
    costs = [number(cell.interval(key).mean) for key in ("teacher_transport_ratio", "debiased_cost")]
    return [f"{age}, {short(rate)}, {steps(cell.records[0])}", ", ".join(costs)]


CAPTION = (
    "Do a U-Net's students end nearer to their teacher's pairing than an MLP's of as many parameters (87 025 and 86 "
    "262)? Manifold of 16 degrees of freedom, side 8 (d = 64); one-step DMD, AdamW, learning rate 5e-4, b = 32; "
    "teachers of {ages} iterations. Calibrated angle to the teacher (90: nothing left of its pairing): after 500 "
    "updates, (a) from the teacher's one step against what the teacher's outputs cost to match with data (1: as much "
    "as other data); (b) against that of the start, after the first update (of direction only: one steps are nearly "
    "collapsed; below the dotted line pairing was gained), triangles: from fits to pairs of the flow of the best "
    "teachers, joined with their one step, pointing down: from longer fits to fewer pairs; of the joined ones beyond "
    "30 degrees the U-Net's has a lower variance ratio than the MLP's; (c) of the best teachers, after 500 and 2000 "
    "updates, from the one step and from a fit to 65 536 "
    "pairs of the teacher's flow, which begins at {begins} degrees. The MLP's angle less the U-Net's, paired over "
    "seeds: after 500 updates {early} degrees from one step, {fitted} from fits; after 2000 {late} and {both}. Marks: "
    "means over {seeds} seeds with 95 % t-intervals; hollow: a law that is not near its teacher's by convention. "
    "Rotated starts, n, K, hardware and commit: docs/answers-cells.md."
)
BEST = (("unet", 6000, 3000), ("residual", 24000, 4000))
"""Networks, the age of their best teachers, and the iterations of the fit to their pairs."""


def networks_figure(found: Sequence[Cell], fitted: Sequence[Cell], long: Sequence[Cell]) -> Drawing:
    """Angles against the quality of teachers and of starts, and from fits. found: of teachers' one step, rotated or
    not; fitted: of starts at fits to pairs; long: at long fits to few."""
    own = [cell for cell in found if cell.init == "teacher"]
    alike = [cell for cell in own if _alike(cell)]
    lines = _from_both_starts(own, fitted)
    with new_figure(PAPER.double, 2.5, PAPER) as figure:
        left, middle, right = figure.subplots(1, 3, sharey=True)
        _panel(left, alike, "teacher_transport_ratio")
        left.set(xlabel="cost of the teacher's outputs / of data", ylabel="calibrated angle (degrees)")
        left.set_title("(a) the teacher's outputs", loc="left")
        fits = [cell for cell in fitted if _alike(cell)]
        for cell in (*alike, *fits):
            _mark_start(middle, cell, style_of(cell).marker if cell.init == "teacher" else LINES[FIT][1])
        for cell in long:
            _mark_start(middle, cell, "v")
        for kind, age, _ in BEST:
            best = [cell for cell in alike if (cell.value(SETTINGS[0]), cell.value(SETTINGS[1])) == (kind, age)]
            _through_starts(middle, STYLES[kind], best + [cell for cell in fits if cell.value(SETTINGS[0]) == kind])
        middle.plot([0, 90], [0, 90], ":", color=GREY, lw=0.8, zorder=0)
        middle.text(76, 80, "as it began", color=GREY, fontsize=PAPER.small, ha="right", va="bottom")
        middle.set(xlabel="calibrated angle of the start (degrees)", xlim=(0, 92), xticks=(0, 30, 60, 90))
        middle.set_title("(b) the start", loc="left")
        for (kind, start), cells_of in lines.items():
            _line(right, STYLES[kind], start, cells_of)
        right.set(xlabel="student updates", xticks=(500, 2000), xlim=(200, 2300))
        right.set_title("(c) from one step, from fits", loc="left")
        left.set(ylim=(0, 92), yticks=(0, 30, 60, 90))
        for style in STYLES.values():
            left.plot([], [], style.marker, color=style.colour, label=style.label)
        left.plot([], [], "o", color=GREY, mfc="none", label="not near its law")
        left.xaxis.set_major_locator(MultipleLocator(0.05))
        left.legend(fontsize=PAPER.small, loc="upper right", handletextpad=0.3)
        for start, (dash, mark) in LINES.items():
            right.plot([], [], mark, ls=dash, color=GREY, label=start)
        right.legend(fontsize=PAPER.small, loc="upper left")
    old = {kind: sorted(int(c.value(SETTINGS[1])) for c in alike if c.value(SETTINGS[0]) == kind) for kind in STYLES}
    ages = [f"{', '.join(map(str, own))} ({STYLES[kind].label})" for kind, own in old.items()]
    counts = sorted({len(cell.records) for cell in [*own, *fitted, *long]})
    return Drawing(figure, CAPTION.format(ages=" and ".join(ages), seeds=" to ".join(map(str, counts)), **_told(lines)))


Lines = Mapping[tuple[str, str], Sequence[Cell]]
"""By network and start: the cells of 500 and of 2000 updates."""


def _from_both_starts(own: Sequence[Cell], fitted: Sequence[Cell]) -> Lines:
    """What panel (c) shows."""
    steps_of, fits_of = by_keys(own, *SETTINGS), by_keys(fitted, *FIT_SETTINGS)
    return {
        (kind, start): [held[kind, place, 5e-4, length] for length in (1000, 4000)]
        for kind, age, fit in BEST
        for start, held, place in ((ONE_STEP, steps_of, age), (FIT, fits_of, fit))
    }


def _told(lines: Lines) -> dict[str, str]:
    """What the caption says of panel (c): where fits begin, and the MLP's angle less the U-Net's."""
    begins = [f"{mean_interval(begun_angles(lines[kind, FIT][0])).mean:.1f} ({STYLES[kind].label})" for kind in STYLES]
    early, late, fitted, both = (
        in_words(contrast((), mlp, unet).difference)
        for start in LINES
        for mlp, unet in zip(lines["residual", start], lines["unet", start], strict=True)
    )
    return {"begins": " and ".join(begins), "early": early, "late": late, "fitted": fitted, "both": both}


def _start(cell: Cell) -> Interval:
    """The calibrated angle of a cell's starts, nearly: after the first update."""
    return mean_interval(begun_angles(cell))


def _through_starts(axes: Axes, style: LineStyle, found: Sequence[Cell]) -> None:
    """Join a network's angles, in the order of its starts."""
    places = sorted((_start(cell).mean, cell.interval("remap_angle").mean) for cell in found)
    axes.plot(*zip(*places, strict=True), ls=LINES[FIT][0], color=style.colour, lw=1.0, zorder=1)


def style_of(cell: Cell) -> LineStyle:
    """That of its network."""
    return STYLES[str(cell.value(SETTINGS[0]))]


def _mark_start(axes: Axes, cell: Cell, mark: str) -> None:
    """A cell's angle at its start's, with both intervals."""
    style, at = style_of(cell), _start(cell)
    axes.plot([at.low, at.high], [cell.interval("remap_angle").mean] * 2, color=style.colour, lw=0.8)
    _mark(axes, at.mean, cell, style.colour, mark)


def _line(axes: Axes, style: LineStyle, start: str, found: Sequence[Cell]) -> None:
    """Angles against the student's updates, from one start."""
    dash, mark = LINES[start]
    at = [float(steps(cell.records[0])) for cell in found]
    axes.plot(at, [c.interval("remap_angle").mean for c in found], ls=dash, color=style.colour, lw=1.0, zorder=1)
    for x, cell in zip(at, found, strict=True):
        _mark(axes, x, cell, style.colour, mark)


def _mark(axes: Axes, x: float, cell: Cell, colour: str, mark: str) -> None:
    """A cell's angle with its interval; hollow where its law is not near its teacher's."""
    angle = cell.interval("remap_angle")
    axes.plot([x, x], [max(0.0, angle.low), min(90.0, angle.high)], color=colour, lw=0.8)
    axes.plot(x, angle.mean, mark, color=colour, mfc=colour if near(cell) else "white", zorder=3)


def _alike(cell: Cell) -> bool:
    """Whether it is of the rate and length of panels (a) and (b)."""
    return (cell.value(SETTINGS[2]), cell.value(SETTINGS[3])) == (5e-4, 1000)


def _panel(axes: Axes, found: Sequence[Cell], x: str) -> None:
    """Angles against the mean of x, with both intervals, and a line through a network's cells."""
    for kind, style in STYLES.items():
        own = sorted((cell for cell in found if cell.value(SETTINGS[0]) == kind), key=lambda c: c.interval(x).mean)
        places = [(cell.interval(x), cell.interval("remap_angle").mean) for cell in own]
        axes.plot([at.mean for at, _ in places], [y for _, y in places], color=style.colour, lw=0.8, zorder=1)
        for cell, (at, y) in zip(own, places, strict=True):
            axes.plot([at.low, at.high], [y, y], color=style.colour, lw=0.8)
            _mark(axes, at.mean, cell, style.colour, style.marker)
