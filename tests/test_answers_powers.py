"""What docs/answers.md says of what training loses in time, against kept runs."""

import re
import sys
from pathlib import Path

from dmdlab.records.cells import cells

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "figures"))

import answers  # noqa: E402
import answers_numbers  # noqa: E402


def test_what_is_said_of_rate_and_length_holds_where_it_is_said() -> None:
    """At d = 2 four seeds tell neither, from d = 8 on both; but at 1e-4 a longer training keeps more."""
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    names = ("law.dim", "student.learning_rate", "student.iterations", "student.batch")
    mixture = [c for c in cells(answers.stored()["rate-length-batch"]) if c.init == "teacher"]
    near = {place: c for place, c in answers_numbers.by_keys(mixture, *names).items() if answers_numbers.near(c)}

    def told(d: int) -> set[bool]:
        """Whether p (Holm) of a rate of 1e-3 and of 3e-4, and of 8000 updates and of 2000 there, is below 0.05."""
        pairs = [((d, 1e-3, n, b), (d, 3e-4, n, b)) for n, b in ((16000, 64), (4000, 256), (4000, 64))]
        pairs += [((d, rate, 16000, 64), (d, rate, 4000, 64)) for rate in (3e-4, 1e-3)]
        both = [answers_numbers.contrast((), near[a], near[b]) for a, b in pairs if a in near and b in near]
        assert all(c.difference.mean > 0 for c in both)
        return {c.holm < 0.05 for c in answers_numbers.corrected(both)}

    assert [told(d) for d in (2, 8, 32, 128)] == [{False}, {True}, {True}, {True}]
    assert "from d = 8 on rate and length decide" in text
    assert "(at d = 2 four seeds tell neither)" in text
    assert [d for d in (2, 8, 32, 128) if {(d, 1e-4, n, 64) for n in (4000, 16000)} <= set(near)] == [128]
    long, short = near[128, 1e-4, 16000, 64], near[128, 1e-4, 4000, 64]
    assert answers_numbers.contrast((), long, short).difference.high < 0
    ends = [c.interval("remap_angle").mean for c in (long, short)]
    laws = [c.interval("fidelity").mean for c in (long, short)]
    assert (
        "8000 updates end at {:.1f} degrees and 2000 at {:.1f} (fidelity {:.2f} and {:.2f}".format(*ends, *laws) in text
    )


def test_what_is_said_of_a_floor_without_the_plane_is_what_is_fitted() -> None:
    text = re.sub(r"\s+", " ", (ROOT / "docs" / "answers.md").read_text(encoding="utf-8"))
    own = answers.fitted(cells(answers.stored()["rate-length-batch"]))
    plane, sound = [cell for cell in own if cell.dim != 2], answers.of_sound_teachers(own)
    assert {len(cell.records) for cell in sound} == {3}
    whole, without, three = (answers_numbers.powers_of(part, floor=True) for part in (own, plane, sound))
    rate, _, batch, planes = (f"{p.mean:.2f} ± {p.high - p.mean:.2f}" for p in (*without.powers, without.of_planes))
    assert f"the batch's power is {batch}, d - 1's {planes}, the rate's {rate}, floors" in text
    assert f"cells within {without.scatter:.2f} of ln Lambda" in text
    widths = [[p.high - p.low for p in fit.powers] for fit in (whole, three)]
    assert [round(b / a, 1) for a, b in zip(*widths, strict=True)] == [0.3, 0.5, 1.0]
    ends = [[answers_numbers.angle_of(max(0.0, x)) for x in (f.low, f.mean, f.high)] for f in without.floors.values()]
    assert max(high - middle for _, middle, high in ends) < 2.5
    assert f"(from d = 8 on {batch})" in (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
