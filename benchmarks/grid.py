"""Which points are measured: base points, and from each base one setting at a time varied, the others held."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from benchmarks.contestants import Job, Way, Work
from benchmarks.measure import Options

MEMBERS = "members"


@dataclass(frozen=True)
class Base:
    """A point, and the axes that lead away from it: a setting -> its values. 'members' is the size of the ensemble."""

    name: str
    preset: str
    settings: dict[str, object]
    members: int
    axes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def job(self, way: Way, device: str, work: Work = "cycle", precision: str = "auto") -> Job:
        """This point run by one of the contestants."""
        settings = {**self.settings, "network.precision": precision}
        return Job(self.preset, tuple(f"{k}={v}" for k, v in settings.items()), self.members, way, work, device)

    def points(self) -> Iterator[tuple[str, "Base"]]:
        """('', the base), then (axis, point) for every other point of its axes."""
        yield "", self
        for axis, values in self.axes.items():
            own = self.members if axis == MEMBERS else self.settings[axis]
            yield from ((axis, self.at(axis, value)) for value in values if value != own)

    def at(self, axis: str, value: int) -> "Base":
        """The point with this value on one axis."""
        if axis == MEMBERS:
            return replace(self, members=value)
        return replace(self, settings={**self.settings, axis: value})


PAPER: dict[str, object] = {
    "law.name": "chessboard",
    "law.embedding": "axes",
    "law.dim": 4,
    "network.width": 384,
    "student.batch": 512,
}
"""The paper's chessboard in R^4: a network teacher, the plain MLP 384 x 5, k = 5."""

QUICKSTART: dict[str, object] = {"law.dim": 32, "network.width": 64, "student.batch": 128}
"""The quickstart at d = 32: an exact teacher, the residual network 64 x 3, k = 2."""

LARGE: dict[str, object] = {
    "law.dim": 64,
    "network.width": 256,
    "network.depth": 4,
    "student.batch": 512,
    "fake_score.updates": 5,
}
"""experiments/dimension.toml at d = 64: an exact teacher, the residual network 256 x 4, k = 5."""

WIDE = LARGE | {"student.batch": 1024}
"""The network of experiments/dimension.toml at a batch of 1024."""

TINY: dict[str, object] = {"law.dim": 2, "network.width": 8, "student.batch": 16}

WIDTH, BATCH, DIM = "network.width", "student.batch", "law.dim"


def bases(options: Options) -> list[Base]:
    """The base points of a device and their axes; for `quick`, tiny ones with two points an axis."""
    if options.quick:
        mlp = TINY | {"network.kind": "mlp", "teacher.kind": "network"}
        return [Base("paper", "smoke", mlp, 1, {MEMBERS: (1, 2), DIM: (2, 4)}), Base("quickstart", "smoke", TINY, 2)]
    if options.cuda:
        axes = {
            MEMBERS: (1, 4, 16, 64, 256, 1024),
            WIDTH: (64, 128, 256, 512, 1024),
            BATCH: (64, 256, 1024, 4096),
            DIM: (2, 16, 64, 256, 1024, 4096),
        }
        return [Base("paper", "paper", PAPER, 64, axes), Base("large", "quickstart", LARGE, 64, axes)]
    small = {MEMBERS: (1, 4, 16, 64), WIDTH: (64, 128, 256, 512), BATCH: (64, 128, 512), DIM: (2, 32, 512, 4096)}
    large = {MEMBERS: (1, 4, 16), WIDTH: (64, 128, 384, 1024), BATCH: (64, 512, 1024), DIM: (4, 64, 1024, 4096)}
    return [
        Base("quickstart", "quickstart", QUICKSTART, 16, small),
        Base("paper", "paper", PAPER, 1, large),
    ]
