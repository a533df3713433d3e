"""Rows of pictures, one column a noise: one step, the flow in few and in many steps, the student, its control."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from dmdlab.paper.figures.chosen import Runs, blank
from dmdlab.plots.pictures import chosen_rows, gap, mosaic, picture_shape
from dmdlab.plots.style import GREY, VERMILLION
from dmdlab.records.further import FIRST_ROWS, further

ROTATED = "rotated $G$"

COLUMNS = 14
"""Pictures side by side over the width of a page (ours)."""


class PictureRows:
    """The rows of one teacher's first seed.

    Attributes:
        record: that run, a teacher start.
        rows: the outputs by row name, (n, d) each; None where they are not kept.
        limits: the range of the data.
    """

    def __init__(self, runs: Runs, law: str, age: int | None = None, control: bool = True) -> None:
        self.record, self.law = runs.needed(law, age), law
        arrays, steps = self.record.arrays(), self.record.config["teacher.steps"]
        self.rows: dict[str, np.ndarray | None] = {r"$\Phi_1$": arrays["one_step"]}
        self.rows[rf"$\Phi_{{{steps}}}$"] = arrays["teacher"]
        if steps != 32:
            self.rows[r"$\Phi_{32}$"] = further(self.record).get("phi_32")
        self.rows["$G$"] = arrays["student"]
        if control:
            rotated = runs.control(self.record, law, age)
            self.rows[ROTATED] = rotated.student() if rotated else None
        self.limits = float(arrays["data"].min()), float(arrays["data"].max())
        self.labels = arrays.get("label")
        self.n = min(FIRST_ROWS, len(arrays["teacher"]))

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(channels, side, side); None for a law without pictures."""
        return picture_shape(self.record.row)

    def chosen(self, columns: int) -> np.ndarray:
        """Which of the first rows are shown, ascending, drawn by the run's seed."""
        return chosen_rows(self.record, self.n, columns)

    def height(self, width: float) -> float:
        """Inches of the block where it is so many wide, in `COLUMNS` columns."""
        return len(self.rows) * width / COLUMNS

    def draw(self, axes: Axes, title: str, columns: int = COLUMNS) -> None:
        """The block, with the names of its rows and, of conditional data, the classes above its columns."""
        shape, at = self.shape, self.chosen(columns)
        if shape is None:
            return blank(axes, title, f"{self.law}: no pictures")
        low = self.limits[0]
        outputs = [np.full((len(at), int(np.prod(shape))), np.nan) if r is None else r[at] for r in self.rows.values()]
        image = mosaic([np.nan_to_num(row, nan=low) for row in outputs], shape, self.limits)
        pitch = shape[1] + gap(shape[1])
        places = [i * pitch + (shape[1] - 1) / 2 for i in range(max(len(self.rows), len(at)))]
        axes.imshow(image, interpolation="nearest", gid="pictures")
        for place, (name, row) in zip(places, self.rows.items(), strict=False):
            if row is None:
                image[int(place - (shape[1] - 1) / 2) : int(place + (shape[1] + 1) / 2)] = 1.0
                middle: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY, "gid": "missing"}
                axes.text(
                    image.shape[1] / 2,
                    place,
                    f"{name}: {'no finished run' if name == ROTATED else 'not kept'}",
                    **middle,
                )
        axes.images[0].set_data(image)
        axes.set_yticks(places[: len(self.rows)], list(self.rows))
        axes.set_xticks([])
        if self.labels is not None:
            axes.set_xticks(places[: len(at)], [str(label) for label in self.labels[at]])
            axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if not self.record.teacher_ok:
            axes.get_yticklabels()[1].set_color(VERMILLION)
        axes.set_title(title, loc="left")
        return None


def rows_in_words(blocks: Sequence[PictureRows], columns: int = COLUMNS) -> str:
    """How the columns were chosen, and what black and white are."""
    chosen = {block.law: ", ".join(map(str, block.chosen(columns))) for block in blocks}
    ranges = {block.law: f"{block.limits[0]:.3g} (black) to {block.limits[1]:.3g} (white)" for block in blocks}
    classes = " Above the columns: the class that all maps were told." if blocks[0].labels is not None else ""
    of = [f"{law} rows {rows}; {ranges[law]}" for law, rows in chosen.items()]
    return (
        f"Columns are rows of the sample, drawn by the run's seed among the first {blocks[0].n} and not picked, in the "
        f"range of the data ({'; '.join(of)}).{classes} "
    )
