"""`calibrate` as a user meets it: what it prints, writes and refuses."""

import json
from collections.abc import Callable
from pathlib import Path

from small import TINY

Command = Callable[..., tuple[int, str, str]]


def test_calibrate_covers_the_dimensions_trains_nothing_and_goes_on(dmdlab: Command, tmp_path: Path) -> None:
    out_dir = tmp_path / "out"
    words = ("calibrate", "--preset", "smoke", *TINY, "law.dim=[2, 3]", "seed=[0, 1]", "--out", out_dir)
    code, out, _ = dmdlab(*words)
    assert code == 0
    assert sorted(p.name for p in out_dir.iterdir()) == ["calibration", "figures"]
    stored = sorted((out_dir / "calibration").iterdir())
    assert [p.name.split("-n")[0] for p in stored] == ["mixture-d2", "mixture-d3"]
    assert {p.suffix for p in (out_dir / "figures").iterdir()} == {".pdf", ".png", ".txt"}
    assert "delta_e at 90°" in out
    before = [p.stat().st_mtime_ns for p in stored]
    code, out, _ = dmdlab(*words, "--json")
    assert before == [p.stat().st_mtime_ns for p in stored]
    found = json.loads(out)
    assert [entry["settings"]["law.dim"] for entry in found] == [2, 3]
    assert [entry["calibration"]["d"] for entry in found] == [2, 3]


def test_calibrate_refuses_before_it_computes(dmdlab: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for words, sentence in [
        ((), "expected an experiment file"),
        (("--preset", "smokee"), "did you mean 'smoke'"),
        (("--preset", "smoke", "law.dim=0"), "law.dim"),
        (("--preset", "smoke", "--out", tmp_path / "file"), "this is a file"),
    ]:
        code, out, err = dmdlab("calibrate", *words)
        assert (code, out) == (2, "")
        assert sentence in err
