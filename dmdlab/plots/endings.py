"""Which figures a run and a sweep end with."""

from collections.abc import Sequence

from dmdlab.plots.panels import has_plane
from dmdlab.plots.pictures import picture_shape
from dmdlab.records.cells import varying
from dmdlab.records.layout import NO_AXES, layout_of
from dmdlab.records.record import Record


def figures_of_run(records: Sequence[Record]) -> list[str]:
    """Plots of single pairings, in a plane or in two components, as pictures where they are some, and the curves."""
    plane = any(has_plane(record.row) for record in records)
    pictures = any(picture_shape(record.row) for record in records)
    return ["panels" if plane else "components", *(["pictures"] if pictures else []), "curve"]


def figures_of_sweep(records: Sequence[Record]) -> list[str]:
    """The plot of the sweep's own axes first, where anything but the seed varies; pairings, unless dimensions vary."""
    done = [record for record in records if record.done]
    varied = [key for key in varying(done) if key not in NO_AXES]
    if not done or not varied:
        return figures_of_run(records)
    over_dimension = "law.dim" in varied
    first = "dimension" if over_dimension and layout_of(done).of_dimension else "axis"
    skipped = ("panels", "components") if over_dimension else ()
    return [first, *(name for name in figures_of_run(done) if name not in skipped)]
