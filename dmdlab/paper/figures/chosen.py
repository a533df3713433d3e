"""Which runs a figure of the paper shows, and what its caption says of them."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from dmdlab.config import InputError
from dmdlab.plots import captions
from dmdlab.plots.pictures import picture_shape
from dmdlab.plots.samples import Sample
from dmdlab.plots.style import GREY, INIT_STYLES, PAPER
from dmdlab.records.cells import STARTS as STARTS_OF_CELLS
from dmdlab.records.cells import Cell, cell_value, cells, finished, setting_label
from dmdlab.records.layout import distinct
from dmdlab.records.record import Record

STARTS = ("teacher", "rotated")
"""The paper's start, and its control: the same teacher behind a fixed rotation of the noise."""

CONTROL = "a student that started at the same teacher behind a fixed rotation of the noise, the control"
"""The rotated start in a caption."""

READ = ("delta_e", "delta_e_ceiling", "pair_cosine", "remap_angle", "fidelity", "variance_ratio")
"""The measures that a caption gives."""

RATES = ("student.learning_rate", "fake_score.learning_rate", "student.iterations", "student.batch")


class Runs:
    """The runs of a figure, finished ones by seed, and what was looked for and not found.

    Raises `InputError` where no teacher start is finished.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = sorted(finished(records), key=lambda record: int(record.config["seed"]))
        self.given = list(records)
        self.failed = len({record.row["id"] for record in records if not record.done})
        self.used: list[Record] = []
        self.missing: list[str] = []
        if all(record.config["student.init"] != STARTS[0] for record in self.records):
            raise InputError("nothing to draw: no finished run starts at its teacher; run the sweep to its end")

    def ages(self, law: str | None = None) -> list[int]:
        """The ages of their teachers, ascending."""
        return distinct(age_of(record) for record in self.records if law in (None, record.config["law.name"]))

    def laws(self, pictures: bool | None = None) -> list[str]:
        """The laws of all runs, failed ones among them; those of pictures or the others if asked."""
        found = [r for r in self.given if pictures is None or (picture_shape(r.row) is not None) == pictures]
        return list(dict.fromkeys(str(record.config["law.name"]) for record in found))

    def oldest(self, law: str) -> int:
        """The oldest age of a teacher of this law that has a finished teacher start; 0 where none has."""
        own = [r for r in self.records if (r.config["law.name"], r.config["student.init"]) == (law, STARTS[0])]
        return max(map(age_of, own), default=0)

    def of(self, init: str, law: str | None = None, age: int | None = None) -> list[Record]:
        """The finished runs of a start, of a law and an age if asked, by seed; notes where there are none."""
        found = [
            record
            for record in self.records
            if record.config["student.init"] == init
            and law in (None, record.config["law.name"])
            and age in (None, age_of(record))
        ]
        if not found:
            self._note(init, law, age)
        self.used += [record for record in found if record not in self.used]
        return found

    def first(self, init: str, law: str | None = None, age: int | None = None) -> Record | None:
        """That of the lowest seed."""
        found = self.of(init, law, age)
        return found[0] if found else None

    def control(self, record: Record, law: str, age: int | None = None) -> Record | None:
        """The rotated start of the seed of a teacher start; notes where there is none of this seed."""
        found = self.of("rotated", law, age)
        own = [r for r in found if r.config["seed"] == record.config["seed"]]
        if found and not own:
            self._note("rotated", law, age, f"seed {record.config['seed']}")
        return own[0] if own else None

    def _note(self, init: str, law: str | None, age: int | None, *more: str) -> None:
        """That there is no such run, once."""
        of = [*([law] if law else []), f"{init} start", *([f"teacher of age {age}"] if age else []), *more]
        self.missing += [name] if (name := ", ".join(of)) not in self.missing else []

    def starts(self) -> list[str]:
        """Those of `STARTS` that were asked for and found, of any seed."""
        return [init for init in STARTS if any(record.config["student.init"] == init for record in self.used)]

    def needed(self, law: str | None = None, age: int | None = None) -> Record:
        """The first teacher start. Raises `InputError` where there is none."""
        if (found := self.first("teacher", law, age)) is None:
            raise InputError(f"nothing to draw: no finished run of {self.missing[-1]}; run the sweep to its end")
        return found

    def in_words(self) -> str:
        """What the runs read, how they were made, what is missing: the end of a caption."""
        laws = dict.fromkeys(str(record.config["law.name"]) for record in self.used)
        parts = [_read(cell) for law in laws for cell in cells([r for r in self.used if r.config["law.name"] == law])]
        missing = f"Missing, as no such run is finished: {'; '.join(self.missing)}. " if self.missing else ""
        failed = f"{self.failed} failed run{'s' if self.failed > 1 else ''} not drawn. " if self.failed else ""
        seeds = captions.column_in_words(self.used, "seed").replace(" or ", ", ")
        rates = "; ".join(f"{key} {captions.column_in_words(self.used, key)}" for key in RATES)
        return (
            f"{missing}{failed}{'Over seeds' if ',' in seeds else 'Seed'} {seeds}, mean with 95 % interval: "
            f"{'; '.join(parts)}. {captions.flagged(self.used)}{captions.setup(self.used)} Trained with "
            f"{rates}. {captions.provenance(self.used)}"
        )


def _read(cell: Cell) -> str:
    """'images, rotated init (3 seeds): delta_e 2 (1 to 4), ...'."""
    keys = [setting_label(key, value) for key, value in cell.keys.items() if key not in STARTS_OF_CELLS]
    name = ", ".join([f"{cell.law}, d = {cell.dim}", f"{cell.init} start", *keys])
    read = ", ".join(f"{key} {cell_value(cell, key)}" for key in READ)
    return f"{name} ({captions.seeds([cell])}): {read}"


def age_of(record: Record) -> int:
    """The iteration of its training at which a run's teacher was taken."""
    return int(record.config.get("teacher.snapshot") or record.config["teacher.iterations"])


def sample_of(record: Record, name: str) -> Sample:
    """A run's pairing under this name, in the colour of its start."""
    return Sample(record.pairs(), name, INIT_STYLES[str(record.config["student.init"])].colour)


def to_left(axes: Axes) -> None:
    """Move a panel's title to where the others' are."""
    axes.set_title(axes.get_title(), loc="left")
    axes.set_title("")


def blank(axes: Axes, title: str, why: str) -> None:
    """A panel that cannot be drawn keeps its place and says why."""
    middle: dict[str, Any] = {"ha": "center", "va": "center", "color": GREY, "fontsize": 0.9 * PAPER.font}
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, why, transform=axes.transAxes, wrap=True, gid="missing", **middle)
    axes.set_title(title, loc="left")
