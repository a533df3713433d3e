"""Figures along any setting of a sweep: which settings they take, what is drawn where, what is refused."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import Made, made
from matplotlib.figure import Figure

from dmdlab.config import InputError, flatten
from dmdlab.experiments import Sweep
from dmdlab.pairing import METRICS, calibrate, remap_angle
from dmdlab.pairing.calibration import Calibration
from dmdlab.plots import Choice, draw
from dmdlab.plots.axes import place_names, wrapped_names
from dmdlab.plots.captions import column_in_words, provenance
from dmdlab.plots.endings import figures_of_sweep
from dmdlab.records.layout import DIMENSION, Layout, layout_of

RATES = (5e-5, 5e-4, 5e-3)


def rates(dims: tuple[int, ...] = (2, 8), seeds: int = 2, **values: Any) -> list[Made]:
    """A sweep over learning rates and dimensions, each run of its own id."""
    return [
        renamed(made("mixture", d, seed=s, student__learning_rate=r, pair_cosine=0.1 * s + r, **values), f"{d} {r} {s}")
        for d, r, s in itertools.product(dims, RATES, range(seeds))
    ]


def renamed(record: Made, id: str) -> Made:
    return Made(record.folder, record.summary | {"id": id}, record.config, record.environment)


def drawn(figure: Figure, gid: str) -> list[Any]:
    return figure.findobj(lambda artist: artist.get_gid() == gid)


def of_widths(*widths: int, **values: Any) -> list[Made]:
    return [renamed(made("mixture", 8, network__width=w, **values), f"w{w}{values}") for w in widths]


DECAYS = [renamed(made(student__decay=decay), decay) for decay in ("cosine", "constant")]


@pytest.mark.parametrize(
    ("records", "given", "expected"),
    [
        (rates((8,)), {}, Layout("student.learning_rate", "student.init", "law.name")),
        (rates(), {}, Layout("law.dim", "student.learning_rate", "law.name")),
        (rates(), {"x": "student.learning_rate"}, Layout("student.learning_rate", "law.dim", "law.name")),
        ([made(d, 2, i) for d in ("ring", "moons") for i in ("teacher", "rotated")], {},
         Layout("law.name", "student.init", None)),
        ([made("ring", d, i) for d in (2, 3) for i in ("teacher", "rotated")], {}, DIMENSION),
        ([made(init=i) for i in ("teacher", "rotated")], {}, DIMENSION),
        ([made()], {}, DIMENSION),
        (DECAYS, {},
         Layout("student.decay", "student.init", "law.name")),
        ([*of_widths(8, 16), *of_widths(8, 16, student__clip=2.0)], {},
         Layout("network.width", "student.clip", "law.name")),
        ([*of_widths(8, 16), *of_widths(8, 16, init="rotated"), *of_widths(8, 16, student__clip=2.0)], {},
         Layout("network.width", "student.init", "student.clip")),
        ([renamed(made(dim=d, network__width=w), f"{d} {w}") for d in (2, 4) for w in range(8, 16)], {},
         Layout("network.width", "law.dim", "law.name")),
        ([made("field", law__side=4, dim=16), made("field", law__side=8, dim=64)], {}, DIMENSION),
        (rates(), {"by": "law.name"}, Layout("law.dim", "law.name", "student.learning_rate")),
    ],
)  # fmt: skip
def test_a_layout_takes_the_settings_that_vary(records: list[Made], given: dict[str, str], expected: Layout) -> None:
    assert layout_of(records, **given) == expected


def test_a_figure_along_any_setting_has_a_line_for_each_value_of_another() -> None:
    shown = ("pair_cosine", "remap_angle", "seconds")
    drawing = draw("axis", rates(), choice=Choice("student.learning_rate", "law.dim", measures=shown))
    figure = drawing.figure
    assert [axes.get_ylabel() for axes in figure.axes] == [METRICS[k].label for k in shown[:2]] + ["seconds"]
    for dim in (2, 8):
        line, *_ = drawn(figure, f"{dim} line")
        np.testing.assert_allclose(line.get_xydata(), [[rate, rate + 0.05] for rate in RATES])
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["5e-5", "5e-4", "0.005"]
    markers = {drawn(figure, f"{dim} {kind}")[0].get_marker() for dim in (2, 8) for kind in ("solid",)}
    assert len(markers) == 2
    assert drawing.caption.startswith("Copying against student.learning_rate: law mixture; teacher init; d = 2, d = 8.")
    assert "Dashed" not in drawing.caption


def test_numbers_that_are_near_stand_on_a_linear_axis_and_words_on_none() -> None:
    figure = draw("axis", of_widths(16, 32, 64)).figure
    assert figure.axes[0].get_xscale() == "linear"
    figure = draw("axis", DECAYS).figure
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["constant", "cosine"]
    assert {line.get_linestyle() for line in drawn(figure, "teacher line")} == {"None"}


def test_rows_are_those_of_a_third_setting_and_columns_wrap_where_there_is_one_row() -> None:
    rows = draw("axis", rates(), choice=Choice(x="student.learning_rate", by="student.init", rows="law.dim")).figure
    assert len(rows.axes) == 8
    assert sum(text.get_text() == "$d = 8$" for text in rows.axes[4].texts) == 1
    wrapped = draw("axis", rates(), choice=Choice(measures=tuple(METRICS)[:6])).figure
    assert wrapped.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 4)


def swept(**axes: list[Any]) -> list[Made]:
    """Made runs of a sweep over these axes."""
    found = []
    for e in Sweep("test", axes={key.replace("__", "."): values for key, values in axes.items()}).experiments():
        flat = flatten(e)
        law, dim, init, seed = (flat.pop(key) for key in ("law.name", "law.dim", "student.init", "seed"))
        own = {key.replace(".", "__"): value for key, value in flat.items()}
        found.append(renamed(made(law, dim, init, seed, **own), e.id))
    return found


STAR = [
    {"student": {"learning_rate": 5e-4}},
    {"student": {"learning_rate": 1e-2}},
    {"fake_score": {"learning_rate": 5e-5}},
    {"fake_score": {"updates": 1}, "student": {"iterations": 400, "warmup": 50}},
    {"student": {"weight": 0.0}, "terms": {"gan": {"weight": 10.0}}},
]
"""What changes together in a sweep where no setting alone tells the runs apart; the first is the defaults."""

STAR_NAMES = [
    ["base"],
    ["fake_score.learning_rate 5e-5"],
    ["student.weight 0", "gan.weight 10"],
    ["student.learning_rate 0.01"],
    ["iterations 400", "warmup 50", "updates 1"],
]


def test_what_changes_together_stands_along_x_and_what_is_crossed_with_it_does_not() -> None:
    keys = "student.iterations, student.learning_rate, student.warmup, student.weight, fake_score.updates"
    keys += ", fake_score.learning_rate, terms.gan.weight"
    starts = ["teacher", "rotated"]
    assert layout_of(swept(together=STAR, student__init=starts)) == Layout(keys, "student.init", "law.name")
    crossed = swept(together=STAR, student__init=starts, law__dim=[2, 8])
    assert layout_of(crossed) == Layout(keys, "student.init", "law.dim")
    assert layout_of(crossed, rows="student.init") == Layout(keys, "law.dim", "student.init")
    assert layout_of(swept(together=STAR, law__dim=[2, 8])) == Layout(keys, "student.init", "law.dim")
    some = [run for run in crossed if run.config["law.dim"] == 2 or run.config["student.iterations"] == 400]
    assert layout_of(some) == Layout(f"law.dim, {keys}", "student.init", "law.name")


def test_each_combination_has_a_place_named_by_what_differs_from_the_others() -> None:
    runs = swept(together=STAR, student__init=["teacher", "rotated"], seed=[0, 1])
    assert figures_of_sweep(runs)[0] == "axis"
    drawing = draw("axis", runs, choice=Choice(measures=("delta_e",)))
    names = [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()]
    assert [re.sub(r"(?<=\.)\n", "", name).replace("\n", " ") for name in names] == [*map(", ".join, STAR_NAMES)]
    for start in ("teacher", "rotated"):
        marks = {kind: drawn(drawing.figure, f"{start} {kind}") for kind in ("solid", "seeds", "line")}
        assert [float(mark.get_xdata()[0]) for mark in marks["solid"]] == [0, 1, 2, 3, 4]
        assert sum(len(mark.get_xdata()) for mark in marks["seeds"]) == 10
        assert marks["line"][0].get_linestyle() == "None"
    assert (
        "Along x change together (where a name does not say another value, it is this): "
        f"student.iterations = {runs[0].config['student.iterations']}, student.learning_rate = " in drawing.caption
    )
    assert {line.get_drawstyle() for line in drawn(drawing.figure, "ceiling")} == {"steps-mid"}


def test_names_of_places_stand_where_there_is_room_and_are_upright_where_not() -> None:
    level = wrapped_names(STAR_NAMES, 1.0, 7.0, 1.0)
    assert level.rotation == 0
    assert level.texts[1:3] == ["fake_score.\nlearning_rate 5e-5", "student.weight 0,\ngan.weight 10"]
    two, one = (wrapped_names(STAR_NAMES, room, 7.0, 1.0) for room in (0.3, 0.12))
    assert two.rotation == one.rotation == 90
    assert two.texts[4] == "iterations 400,\nwarmup 50, updates 1"
    assert max(text.count("\n") for text in one.texts) == 0 < two.height < one.height
    keys = ", ".join(["network.kind", "network.width"])
    assert place_names(keys, [("unet", None), ("residual", 8), ("residual", 16)]) == [
        ["network.kind unet"], ["width 8"], ["width 16"],
    ]  # fmt: skip


def test_an_axis_of_tables_has_a_place_for_each_and_says_what_changes_with_it() -> None:
    tables = [{"kind": "unet", "channels": [8, 16]}, {"kind": "residual", "width": 94}]
    drawing = draw("axis", swept(network=tables, law__name=["field"], law__side=[4], law__dim=[16]),
                   choice=Choice(measures=("pair_cosine",)))  # fmt: skip
    assert [text.get_text() for text in drawing.figure.axes[0].get_xticklabels()] == ["residual", "unet"]
    assert re.search(r"With these change: network\.\w+, ", drawing.caption)


class Calibrated(Made):
    """A run with a calibration of its own, at its dimension."""

    def calibration(self) -> Calibration:
        d = int(self.config["law.dim"])
        rng = np.random.default_rng(d)
        noise, fresh = rng.normal(size=(60, d)), rng.normal(size=(120, d))
        return calibrate(np.tanh, noise, fresh_noise=fresh, rng=rng, bases=3, angles_degrees=(0, 30, 60, 90), shares=())

    def curve(self) -> dict[str, np.ndarray]:
        return super().curve() | {
            "pair_cosine": np.array([0.9, 0.5, -0.2]),
            "variance_ratio": np.array([0.001, 0.5, 1.0]),
        }


def calibrated(records: list[Made]) -> list[Calibrated]:
    return [
        Calibrated(Path("nowhere"), r.summary | {"calibration": f"c{r.config['law.dim']}"}, r.config, r.environment)
        for r in records
    ]


def test_lines_of_different_teachers_have_levels_of_their_own_and_others_share_them() -> None:
    runs = calibrated(rates((2, 8), 1))
    own = draw("axis", runs, choice=Choice("student.learning_rate", "law.dim"))
    found = {dim: run.calibration() for dim, run in ((2, runs[0]), (8, runs[-1]))}
    levels = [line.get_ydata()[0] for line in drawn(own.figure.axes[2], "planted 30")]
    assert levels == pytest.approx([found[dim].at("pair_cosine", 30.0) for dim in (2, 8)])
    assert len(drawn(own.figure, "ceiling")) == 2
    assert "Dashed and dotted lines belong to the line of their colour" in own.caption
    shared = draw("axis", runs, choice=Choice("law.dim", "student.learning_rate"))
    assert len(drawn(shared.figure.axes[2], "planted 30")) == 1
    assert "Dashed lines belong to the line of their colour" in shared.caption


def test_the_curve_figure_reads_its_angles_by_the_calibration_and_follows_any_setting() -> None:
    runs = calibrated(rates((8,), 1))
    figure = draw("curve", runs).figure
    assert [axes.get_title() for axes in figure.axes[:3]] == [
        f"student.learning_rate = {r}" for r in ("5e-5", "5e-4", "0.005")
    ]
    pale, line = (drawn(figure.axes[-1], f"teacher {kind}")[0].get_ydata() for kind in ("collapsed", "line"))
    assert pale == pytest.approx([remap_angle(runs[0].calibration(), cosine).value for cosine in (0.9, 0.5, -0.2)])
    assert pale[-1] == 90.0
    np.testing.assert_array_equal(line, [np.nan, *pale[1:]])
    assert all(len(dots.get_xdata()) == 0 for dots in drawn(figure, "teacher alone"))
    with pytest.raises(InputError, match=r"for student\.clip \(2; 10\)"):
        draw("curve", [*of_widths(8, 16), *of_widths(8, 16, init="rotated"), *of_widths(8, 16, student__clip=2.0)])


def test_an_angle_between_gaps_is_a_dot() -> None:
    class Late(Calibrated):
        def curve(self) -> dict[str, np.ndarray]:
            return super().curve() | {"variance_ratio": np.array([0.001, 0.001, 1.0])}

    (run,) = calibrated([made()])
    (dot,) = drawn(
        draw("curve", [Late(run.folder, run.summary, run.config, run.environment)]).figure.axes[4], "teacher alone"
    )
    assert dot.get_xydata().tolist() == [[100.0, 90.0]]
    assert dot.get_marker() == "."


def test_seeds_of_which_most_read_0_have_no_interval_of_delta_e() -> None:
    read = {2: (0.0, 0.0, 0.7), 8: (0.3, 0.4, 0.5)}
    runs = [renamed(made(dim=d, seed=s, delta_e=v), f"{d} {s}") for d in read for s, v in enumerate(read[d])]
    drawing = draw("axis", runs, choice=Choice(measures=("delta_e",)))
    none, own = (lines.get_segments()[0] for lines in drawn(drawing.figure, "teacher interval"))
    assert none.size == 0
    assert np.ptp(own[:, 1]) > 0.1
    assert "none where half of the seeds or more read 0" in drawing.caption


def test_a_caption_of_many_runs_names_the_first_the_last_and_where_all_are_told() -> None:
    runs = [renamed(made(seed=s, law__seed=s % 9), f"run{s}") for s in range(102)]
    assert provenance(runs[:100]).endswith(" run98 run99.")
    assert provenance(runs).endswith(" 102 runs, from run0 to run101: `dmdlab table` of their folder tells all ids.")
    assert column_in_words(runs[:8], "seed") == "0 or 1 or 2 or 3 or 4 or 5 or 6 or 7"
    assert column_in_words(runs[:20], "seed") == "0 or 1 or 2 or 3 or 4 or 5 or 6 or one of 13 others"


@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        (Choice(x="student.lerning_rate"), r"--x .*did you mean 'student\.learning_rate'"),
        (Choice(by="seed"), "--by seed: a figure averages over seeds"),
        (Choice(x="law.dim", rows="law.dim"), r"--x law\.dim: given twice"),
        (Choice(measures=("pair_cosin",)), "--measures pair_cosin: no measure.*did you mean 'pair_cosine'"),
        (Choice(measures=()), "--measures: names no measure"),
        (Choice(measures=("hardware",)), "--measures hardware: no measure"),
        (Choice("law.dim", "student.init", "law.name"), "runs of mixture, d = 2, teacher init differ in "),
        (Choice(x="student.learning_rate", rows="law.dim", measures=tuple(METRICS)[:5]), "5 measures in 2 rows"),
    ],
)  # fmt: skip
def test_what_makes_no_figure_along_a_setting_is_refused(choice: Choice, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        draw("axis", rates(), choice=choice)


def test_where_a_file_lies_is_no_axis_and_what_it_holds_is() -> None:
    runs = [made("images", seed=s, law__path=own, law__digest=own) for s, own in enumerate("aabb")]
    with pytest.raises(
        InputError, match=r"--by law.path: where a file lies tells no runs apart.* give --by law.digest"
    ):
        draw("axis", runs, choice=Choice(by="law.path"))
    assert "law.digest, the content of files: a is of a, b is of b." in draw("axis", runs, choice=Choice()).caption


def test_more_lines_than_markers_and_options_of_another_plot_are_refused() -> None:
    many = [renamed(made(dim=d, network__width=w), f"{d} {w}") for d in range(2, 10) for w in range(8, 16)]
    with pytest.raises(InputError, match=r"8 lines, one for each network\.width .* choose at most 7"):
        draw("axis", many)
    with pytest.raises(InputError, match="are for the plot 'axis'"):
        draw("panels", many, choice=Choice(x="law.dim"))
    wild = [renamed(made(**{f"student__{key}": 30 + i}), f"{key} {i}")
            for key in ("clip", "batch", "warmup", "iterations") for i in range(20)]  # fmt: skip
    with pytest.raises(InputError, match=r"80 places along x, one for each .*student\.clip.* do not fit"):
        draw("axis", wild)


STARTS = ("teacher", "turned", "twisted", "rotated", "other", "regressed", "transport", "random")


@pytest.mark.parametrize(("size", "panels"), [("paper", 1), ("paper", 4), ("slide", 1)])
def test_many_words_along_x_stand_apart(size: str, panels: int) -> None:
    records, shown = [renamed(made("mixture", 2, i), i) for i in STARTS], ("pair_cosine",) * panels
    axes = draw("axis", records, size, Choice(x="student.init", by="law.dim", measures=shown)).figure.axes[-1]
    labels = axes.get_xticklabels()
    assert [text.get_text() for text in labels] == list(STARTS)
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(text.get_window_extent() for text in labels))


def test_a_figure_of_one_run_names_its_guides_above_the_axis_and_tells_no_interval() -> None:
    own = [made("mixture", 2, pair_cosine=0.9)]
    figures = {"axis": draw("axis", own, choice=Choice(measures=("pair_cosine",))), "curve": draw("curve", own)}
    for drawing in figures.values():
        names = [text for axes in drawing.figure.axes for text in axes.texts if text.get_text() == "chance"]
        assert len(names) == 1
        assert names[0].axes is not None
        assert names[0].get_window_extent().y0 > names[0].axes.get_window_extent().y0
    assert "Marks: one seed each, without an interval. " in figures["axis"].caption
    assert "Lines: one seed each. " in figures["curve"].caption


def test_the_seeds_of_seven_lines_lie_in_the_frame() -> None:
    updates = (1, 2, 3, 4, 5, 10, 20)
    records = [renamed(made("mixture", d, fake_score__updates=k), f"{d} {k}") for d in (2, 4, 16) for k in updates]
    choice = Choice(x="law.dim", by="fake_score.updates", measures=("delta_e",) * 4)
    axes = draw("axis", records, choice=choice).figure.axes[3]
    frame = axes.get_window_extent()
    for line in [line for line in axes.lines if str(line.get_gid()).endswith(" seeds")]:
        assert all(frame.contains(*place) for place in line.get_transform().transform(line.get_xydata()))
