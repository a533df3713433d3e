"""Runs that differ in their seed only, as cells: what varies, means and intervals, what is poor, and their words."""

import itertools
import json
from pathlib import Path

import pytest
from made import made, write_run

from dmdlab.config import InputError
from dmdlab.plots.captions import setup
from dmdlab.records.catalogue import chosen
from dmdlab.records.cells import (
    cell_row,
    cell_value,
    cells,
    cells_of_starts,
    dims_of,
    files_in_words,
    legend,
    logarithmic,
    paired_differences,
    setting,
    setting_label,
    short,
    varying,
)
from dmdlab.records.record import load_record


def test_two_settings_are_compared_seed_by_seed() -> None:
    values = {"teacher": (5.0, 7.0, 9.0), "rotated": (1.0, 2.0, None)}
    places = itertools.product(values, range(3))
    records = [made("ring", 2, init, seed, copy_index=values[init][seed]) for init, seed in places]
    ((name, difference),) = paired_differences(records, "student.init", "teacher", "rotated", "copy_index")
    assert name == "ring d=2"
    assert difference.mean == pytest.approx(4.5)
    assert (difference.n, difference.missing) == (2, 1)
    assert not paired_differences(records, "student.init", "teacher", "random", "copy_index")


def test_teachers_taken_at_the_end_of_trainings_of_different_length_are_compared_by_length_alone() -> None:
    settings = ({"teacher__iterations": t, "teacher__snapshot": t} for t in (10, 20))
    records = [
        made(seed=seed, copy_index=seed + own["teacher__iterations"], **own) for own in settings for seed in (0, 1)
    ]
    assert varying(records) == ["teacher.iterations", "seed"]
    young = made(teacher__iterations=20, teacher__snapshot=10)
    assert varying([*records[2:], young]) == ["teacher.snapshot", "seed"]
    assert len(cells([*records[2:], young])) == 2
    ((_, difference),) = paired_differences(records, "teacher.iterations", 20, 10, "copy_index")
    assert (difference.mean, difference.n) == (10.0, 2)


def test_a_run_from_before_a_key_has_its_default(tmp_path: Path) -> None:
    """Its id says so, too; what another version of results took for a default nobody knows any more."""
    folder = write_run(tmp_path, made(teacher__iterations=30))
    config = json.loads((folder / "experiment.json").read_text())
    for key in ("teacher.snapshot", "teacher.condition", "measure.bases"):
        del config[key]
    (folder / "experiment.json").write_text(json.dumps(config))
    found = load_record(folder).config
    assert (found["teacher.snapshot"], found["teacher.condition"], found["measure.bases"]) == (30, False, 4)


def test_a_legend_says_which_cells_have_no_interval() -> None:
    for values, without in (
        ((0.0, 0.0, 0.4), True),
        ((0.0, 0.2, 0.4), False),
        ((0.0, 0.0, 0.0), False),
        ((0.3,), False),
    ):
        found = cells([made("ring", 2, seed=seed, delta_e=value) for seed, value in enumerate(values)])
        assert any("no interval on that scale" in sentence for sentence in legend(found)) == without


def test_cells_average_over_seeds_and_count_what_is_missing() -> None:
    records = [
        made("ring", 2, seed=2, status="failed"),
        made("ring", 4, seed=0, copy_index=5.0),
        made("ring", 2, seed=0, copy_index=1.0),
        made("ring", 2, seed=1, copy_index=3.0, ok=False),
        made("ring", 4, seed=1, copy_index=None, remap_angle=90.0, reason="a bound"),
    ]
    two, four = cells(records)  # in order of first appearance
    assert two.keys == {"law.name": "ring", "law.dim": 2, "student.init": "teacher"}
    assert (two.law, two.dim, two.init) == ("ring", 2, "teacher")
    assert [r.config["seed"] for r in two.records] == [0, 1, 2]
    assert (two.failed, two.flagged) == (1, 1)
    assert (four.failed, four.flagged) == (0, 0)
    assert cells([made(status="failed", ok=False)])[0].flagged == 1
    assert dims_of(cells([made("ring", 128), made("ring", 2)])) == [2, 128]
    assert [any("teacher!" in sentence for sentence in legend([cell])) for cell in (two, four)] == [True, False]
    assert two.column("copy_index").tolist() == [1.0, 3.0]
    interval = four.interval("copy_index")
    assert (interval.mean, interval.n, interval.missing) == (5.0, 1, 1)
    assert varying(records) == ["law.dim", "seed"]
    assert (two.bounded("remap_angle"), four.bounded("remap_angle")) == (False, True)
    assert cell_row(two)[:4] == ["ring", "2", "teacher", "3 (1 failed) teacher!"]
    assert any("teacher!" in sentence for sentence in legend([two, four]))
    assert cell_value(four, "copy_index") == "5 (n = 1)"
    assert cell_value(four, "remap_angle").startswith("≥ ")
    (cell,) = cells([made(seed=seed, copy_index=value) for seed, value in enumerate((0.5, None, 0.5))])
    assert cell_value(cell, "copy_index").endswith(" (n = 2)")


def test_an_interval_of_delta_e_never_reaches_zero_and_is_told_by_its_ends() -> None:
    (cell,) = cells([made(seed=seed, delta_e=value) for seed, value in enumerate((3.0, 5.0, 8.0, 56.0))])
    assert 0 < cell.interval("delta_e").low < 3
    assert cell_value(cell, "delta_e") == "18 (1.9 to 170)"
    assert cell.interval("delta_e_ceiling").low == pytest.approx(15.0)
    assert [logarithmic(key) for key in ("own_delta_e", "within_delta_e_ceiling", "pair_cosine", "seconds")] == [
        True, True, False, False]  # fmt: skip
    (copies,) = cells([made(seed=seed, delta_e=0.0) for seed in (0, 1)])
    assert cell_value(copies, "delta_e") == "0"


@pytest.mark.parametrize(("fidelity", "poor"), [(1.1, False), (1.8, True), (0.5, True), (None, True)])
def test_a_fidelity_that_no_claim_should_rest_on_is_poor(fidelity: float | None, poor: bool) -> None:
    (cell,) = cells([made(seed=seed, fidelity=fidelity) for seed in (0, 1)])
    assert cell.poor == poor
    assert ("(poor)" in cell_value(cell, "fidelity")) == (poor and fidelity is not None)
    (fine,) = cells([made(fidelity=1.0)])
    assert [any("(poor)" in told for told in legend(own)) for own in ([fine, cell], [fine])] == [poor, False]


@pytest.mark.parametrize(
    ("null", "values", "outside", "text"),
    [
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 1.01}, [], "1.01"),
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 1.1}, ["fidelity"], "1.1 ± 0 (poor)"),
        ({"fidelity": (0.4, 2.5)}, {"fidelity": 1.8}, [], "1.8"),  # beyond the old limits, as equal laws are here
        ({"fidelity": (0.98, 1.02)}, {"fidelity": 0.9}, ["fidelity"], "(poor)"),
        ({"variance_ratio": (0.98, 1.02)}, {"fidelity": 1.0}, ["variance_ratio"], "(poor: variance_ratio)"),
        ({"debiased_cost": (-0.01, 0.01)}, {"debiased_cost": None}, ["debiased_cost"], "(poor: debiased_cost)"),
    ],
)
def test_a_law_is_judged_by_what_equal_laws_read_on_both_sides(
    null: dict[str, tuple[float, float]], values: dict[str, float | None], outside: list[str], text: str
) -> None:
    (cell,) = cells([made(seed=seed, null=null, **values) for seed in (0, 1)])
    assert (cell.outside, cell.poor) == (outside, bool(outside))
    assert text in cell_value(cell, "fidelity")
    assert ("poor" in cell_value(cell, "fidelity")) == cell.poor


def test_a_law_is_judged_by_the_mean_over_seeds_and_not_by_its_interval() -> None:
    """Of two seeds that reaches far beyond what is allowed."""
    (cell,) = cells([made(seed=seed, null={"fidelity": (0.9, 1.1)}, fidelity=0.95 + 0.1 * seed) for seed in (0, 1)])
    assert cell.interval("fidelity").low < 0.9 < 1.1 < cell.interval("fidelity").high
    assert cell.outside == []


def test_a_bound_is_a_value_with_a_reason_of_the_pairing_that_is_asked_for() -> None:
    (cell,) = cells([made(reason="a bound", remap_angle=None)])
    assert not cell.bounded("remap_angle")
    (cell,) = cells([made(reason="a bound")])
    assert (cell.bounded("remap_angle"), cell.bounded("own_remap_angle")) == (True, False)
    cell.records[0].summary["own"] = {"remap_angle": {"value": 90.0, "reason": "a bound"}}
    cell.records[0].summary["metrics"]["remap_angle"] = {"value": 20.0}
    assert (cell.bounded("remap_angle"), cell.bounded("own_remap_angle")) == (False, True)


def test_a_logarithmic_measure_is_one_in_every_column_of_it() -> None:
    for part in ("", "own_", "within_", "steps_"):
        assert logarithmic(f"{part}delta_e")
        assert not logarithmic(f"{part}copy_index")


def test_a_seed_that_one_side_lacks_counts_as_missing_on_both() -> None:
    runs = [made(init="teacher", seed=seed, copy_index=1.0 + seed) for seed in (0, 1)]
    runs += [made(init="rotated", seed=seed, copy_index=0.5 * seed) for seed in (0, 1, 2)]
    for a, b in (("teacher", "rotated"), ("rotated", "teacher")):
        ((_, found),) = paired_differences(runs, "student.init", a, b, "copy_index")
        assert (abs(found.mean), found.n, found.missing) == (1.25, 2, 1)


def test_limits_of_a_cell_are_those_of_all_its_runs_or_none() -> None:
    runs = [made(seed=seed, null={"fidelity": (0.9 + 0.05 * seed, 1.1)}) for seed in (0, 1)]
    failed = made(seed=2, status="failed")
    (cell,) = cells([*runs, failed])
    assert cell.law_limits["fidelity"] == pytest.approx((0.925, 1.1))
    (mixed,) = cells([*runs, made(seed=3)])
    assert mixed.law_limits == {}


def test_results_of_two_versions_are_never_averaged() -> None:
    mixed = [made(seed=seed, result_version=version) for seed in (0, 1) for version in (1, 2)]
    assert [cell.keys["result_version"] for cell in cells(mixed)] == [1, 2]
    assert varying(mixed) == ["result_version", "seed"]
    with pytest.raises(InputError, match=r"differ in result_version \(1, 2\).*result_version=VALUE"):
        cells_of_starts(mixed)
    assert len(cells_of_starts(chosen(mixed, ["result_version=2"]))) == 1


def test_where_a_file_lies_tells_no_cells_apart_once_its_digest_is_there() -> None:
    moved = [made("images", seed=seed, law__path=f"at {seed}", law__labels="x", law__digest="d") for seed in (0, 1)]
    assert varying(moved) == ["seed"]
    assert len(cells(moved)) == 1
    assert [record.row["law.path"] for record in moved] == ["at 0", "at 1"]
    assert files_in_words(moved) == ""
    held = {"my/a.npy": "d1", "b": "d2"}
    found = [made("images", law__path=path, law__labels="l.npy", law__digest=own) for path, own in held.items()]
    told = "law.digest, the content of files: d1 is of a.npy with labels l.npy, d2 is of b with labels l.npy."
    assert files_in_words(found) == told
    assert legend(cells(found))[-1] == told
    assert setup(found).startswith(told)
    other = [made("images", law__path=path) for path in ("here", "there")]
    assert varying(other) == ["law.path"]


def test_settings_are_told_as_one_would_type_them() -> None:
    values = {"law.name": "ring", "law.dim": 8, "student.init": "random", "student.learning_rate": 5e-5}
    assert [setting_label(*item) for item in values.items()] == [
        "ring",
        "d = 8",
        "random init",
        "student.learning_rate = 5e-5",
    ]
    assert [short(v) for v in (5e-4, 0.002, 80.0, 2.5e6, 0.0, (16, 32), True)] == [
        "5e-4", "0.002", "80", "2.5e6", "0", "16, 32", "True"]  # fmt: skip


def test_a_figure_has_one_cell_for_each_law_dimension_and_start_with_every_finished_run_once() -> None:
    records = [made("ring", d, i, s) for d in (8, 2) for i in ("rotated", "teacher") for s in (2, 0)]
    found = cells_of_starts([*records, made("ring", 8, seed=0), made("ring", 8, seed=1, status="failed")])
    assert [(cell.dim, cell.init) for cell in found] == [(2, "teacher"), (2, "rotated"), (8, "teacher"), (8, "rotated")]
    assert all([r.config["seed"] for r in cell.records] == [0, 2] for cell in found)
    mixed = [made(seed=0), made(seed=1, noise__sigma_max=5.0)]
    with pytest.raises(InputError, match=r"differ in noise\.sigma_max \(5\.0, 80\.0\).*noise\.sigma_max=VALUE"):
        cells_of_starts(mixed)
    assert len(cells(mixed)) == 2


def test_a_term_that_some_runs_lack_is_told_by_its_weight_alone() -> None:
    gan = {"terms__gan__weight": 1.0, "terms__gan__levels": [0.0, 1.0]}
    records = [made(**own) for own in (gan, {})]
    assert varying(records) == ["terms.gan.weight"]
    assert [setting(record, "terms.gan.levels") for record in records] == [(0.0, 1.0), None]
    assert setting(records[0], "terms.gan.weight, terms.gan.levels") == (1.0, (0.0, 1.0))
    assert cells(records[:1], also=["terms.gan.weight"])[0].keys["terms.gan.weight"] == 1.0
    other = made(**gan | {"terms__gan__levels": [0.0, 0.5]})
    assert varying([*records, other]) == ["terms.gan.weight", "terms.gan.levels"]


def test_a_paired_difference_is_named_by_what_else_varies() -> None:
    rates = (1e-4, 1e-3)
    records = [
        made(init=init, seed=seed, student__learning_rate=rate)
        for init in ("teacher", "rotated")
        for rate in rates
        for seed in (0, 1)
    ]
    named = [name for name, _ in paired_differences(records, "student.init", "teacher", "rotated", "pair_cosine")]
    assert named == [f"mixture d=8, {setting_label('student.learning_rate', rate)}" for rate in rates]


def test_a_setup_says_whether_all_teachers_or_some_are_told_the_class() -> None:
    told, untold = (made(teacher__condition=condition) for condition in (True, False))
    assert "Teacher: the exact denoiser, told the class as its students are" in setup([told, told])
    assert "Teacher: the exact denoiser, in some of these runs told the class as its students are" in setup(
        [untold, told]
    )
    assert "told the class" not in setup([untold])
