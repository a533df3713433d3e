"""Figures 10 and 11: how far one step is from the teacher's output against how far the student is."""

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes

from dmdlab.paper.figures.chosen import CONTROL, STARTS, Runs, blank, sample_of
from dmdlab.plots.displacement import draw_displacement, outside_in_words, points_outside
from dmdlab.plots.style import INIT_STYLES, PAPER

_MOVED = (
    "Across: distance of the teacher's one-step output P1 (where a student of teacher start began; one of rotated "
    "start elsewhere) from its output P at the same noise; up: that of the student's output G from P. Below the line "
    "of equality the student is nearer to this very output than P1 is. Dashed: root mean square distance of an output "
    "of the teacher start from another noise's teacher output. "
)


def moved_in_words(panels: Iterable[Axes]) -> str:
    """What these panels show."""
    return _MOVED + (f"Vermillion: {CONTROL}. " if "rotated" in _drawn(panels) else "")


def _drawn(panels: Iterable[Axes]) -> list[str]:
    """The starts of the students that these panels hold."""
    colours = {line.get_color() for axes in panels for line in axes.lines if line.get_gid() == "pairs"}
    return [init for init in STARTS if INIT_STYLES[init].colour in colours]


def draw_moved(axes: Axes, runs: Runs, law: str, age: int, title: str) -> str:
    """One panel, teacher start and rotated start of one seed; returns what share is nearer than P1, in words."""
    first = runs.first("teacher", law, age)
    if first is None:
        blank(axes, title, "no finished run")
        return ""
    shown = [record for record in (first, runs.control(first, law, age)) if record]
    samples = [sample_of(record, title) for record in shown]
    nearer = draw_displacement(axes, samples, PAPER)
    axes.set_title(title, loc="left")
    steps = first.config["teacher.steps"]
    axes.set(xlabel=rf"$\|\Phi_1 - \Phi_{{{steps}}}\|$", ylabel=rf"$\|G - \Phi_{{{steps}}}\|$")
    told = [f"{100 * share:.0f} % of the {init} start" for share, init in zip(nearer, STARTS, strict=False)]
    return f"{title}, seed {first.config['seed']}: {' and '.join(told)} are nearer than P1. "


def same_scale(axes: Axes, top: float) -> None:
    """Give a panel the ends of the others; one that could not be drawn keeps its own."""
    if axes.lines:
        axes.set(xlim=(0, top), ylim=(0, top))
        for line in axes.lines:
            if line.get_gid() == "equal":
                line.set_data([0, top], [0, top])


def outside_of(panels: Iterable[Axes]) -> str:
    """How many points lie outside of these panels, in words, where some do."""
    return outside_in_words({axes.get_title(loc="left"): points_outside(axes) for axes in panels})


def draw_legend(panels: Sequence[Axes]) -> None:
    """The starts that these panels hold."""
    axes = panels[0]
    for init in _drawn(panels):
        style = INIT_STYLES[init]
        axes.plot([], [], "o", color=style.colour, label=style.label)
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
