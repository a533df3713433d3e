"""Rows of pictures: which rows, where each stands, in which scale; and which figures runs and sweeps end with."""

from typing import Any

import numpy as np
import pytest
from made import Made, made

from dmdlab.config import InputError
from dmdlab.plots import draw
from dmdlab.plots.endings import figures_of_run, figures_of_sweep
from dmdlab.plots.pictures import COLUMNS, chosen_rows, gap, mosaic


def pictures(channels: int = 1, seed: int = 0, **values: Any) -> Made:
    shape = {"law__side": 4, "law__channels": channels}
    return made("field", 16 * channels, seed=seed, **shape, **values)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_picture_of_a_column_is_that_of_one_row_in_the_range_of_the_data(channels: int) -> None:
    run = pictures(channels)
    drawing = draw("pictures", [run, pictures(channels, seed=1)])
    (axes,) = drawing.figure.axes
    image, arrays, rows = np.asarray(axes.get_images()[0].get_array()), run.arrays(), chosen_rows(run, 40)
    low, high = arrays["data"].min(), arrays["data"].max()
    for i, key in enumerate(("one_step", "teacher", "student")):
        for j in (0, COLUMNS - 1):
            shown = image[5 * i : 5 * i + 4, 5 * j : 5 * j + 4]
            value = np.clip((arrays[key][rows[j]] - low) / (high - low), 0, 1).reshape(channels, 4, 4)
            np.testing.assert_allclose(shown, np.broadcast_to(np.moveaxis(value, 0, -1), (4, 4, 3)), atol=1e-6)
    assert f"seed 0: rows {', '.join(map(str, rows))}, counted from 0" in drawing.caption
    assert f"{low:.3g} (black) to {high:.3g} (white)" in drawing.caption


def test_columns_are_drawn_by_the_seed_and_each_setting_has_a_block() -> None:
    assert len(set(chosen_rows(pictures(), 500))) == COLUMNS
    assert (chosen_rows(pictures(), 500) == chosen_rows(pictures(student__clip=1.0), 500)).all()
    assert (chosen_rows(pictures(), 500) != chosen_rows(pictures(seed=1), 500)).any()
    assert len(set(chosen_rows(pictures(), 500, 7))) == 7
    assert chosen_rows(pictures(), 5).tolist() == [0, 1, 2, 3, 4]
    five = [pictures(init=init, student__clip=clip, result_version=v) for v, (init, clip) in enumerate(
        [("teacher", 1.0), ("rotated", 1.0), ("teacher", 2.0), ("rotated", 2.0), ("random", 1.0)], 1)]  # fmt: skip
    drawing = draw("pictures", five)
    assert [axes.get_ylabel().split("\n")[1] for axes in drawing.figure.axes] == [
        "teacher init", "teacher init", "rotated init", "rotated init"]  # fmt: skip
    assert "the first 4 of 5 settings" in drawing.caption


def test_pictures_stand_side_by_side_with_white_between_and_colours_in_their_planes() -> None:
    red = np.concatenate([np.ones(144), np.zeros(288)])
    whole = mosaic([np.stack([red, red])], (3, 12, 12), (0.0, 1.0))
    assert whole.shape == (12, 24 + gap(12), 3)
    assert (whole[:, :12] == [1, 0, 0]).all()
    assert (whole[:, 12 : 12 + gap(12)] == 1).all()


def test_a_law_without_pictures_has_none() -> None:
    with pytest.raises(InputError, match=r"no picture in outputs of mixture, ring; `dmdlab laws` names"):
        draw("pictures", [made(), made("ring")])


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([made("ring", d) for d in (2, 3)], ["dimension", "curve"]),
        ([made(dim=2, init=i) for i in ("teacher", "rotated")], ["axis", "panels", "curve"]),
        ([made(dim=8, seed=s) for s in (0, 1)], ["components", "curve"]),
        ([made(dim=8, student__clip=c, result_version=v) for v, c in ((1, 1.0), (2, 2.0))],
         ["axis", "components", "curve"]),
        ([made(dim=d, student__clip=c, result_version=v) for d in (2, 8) for v, c in ((1, 1.0), (2, 2.0))],
         ["axis", "curve"]),
        ([pictures(init=i) for i in ("teacher", "random")], ["axis", "components", "pictures", "curve"]),
        ([made(dim=2, status="failed")], ["panels", "curve"]),
    ],
)  # fmt: skip
def test_a_sweep_ends_with_the_figure_of_its_own_axes(records: list[Made], expected: list[str]) -> None:
    assert figures_of_sweep(records) == expected


def test_a_run_ends_with_its_pairing_as_it_can_be_seen() -> None:
    assert figures_of_run([made("ring", 8)]) == ["panels", "curve"]
    assert figures_of_run([made("mixture", 8)]) == ["components", "curve"]
    assert figures_of_run([pictures()]) == ["components", "pictures", "curve"]
