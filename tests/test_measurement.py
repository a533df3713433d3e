"""A measurement before a command or a browser sees it: what it will cost, and its page, number by number."""

import itertools
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from markupsafe import escape
from matplotlib.figure import Figure

from dmdlab.pages import measurement
from dmdlab.pages import report as reporting
from dmdlab.pairing import METRICS, calibrate
from dmdlab.pairing.pairs import Pairs
from dmdlab.plots.style import Drawing


@pytest.mark.parametrize(("n", "tried"), [(2, False), (5, False), (6, True)])
def test_how_long_it_takes_is_tried_only_where_a_third_of_the_rows_can_be_measured(
    n: int, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "TRIED", 1.0)
    P, G, Q = np.random.default_rng(0).normal(size=(3, n, 4))
    found = measurement.effort(Pairs.of(P, G, reference=Q))
    assert (found.seconds > 0) == tried
    assert found.halves == (60 if n >= 4 else 0)  # there are none of fewer rows


def test_an_effort_counts_the_assignments_of_all_rows_and_of_random_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    P, G, Q, z = np.random.default_rng(0).normal(size=(4, 12, 4))

    def counted(quick: bool = False, **arrays: np.ndarray) -> tuple[int, int]:
        found = measurement.effort(Pairs.of(P, G, **arrays), quick)
        return found.whole, found.halves

    assert counted() == (1, 20)
    assert counted(reference=Q) == (3, 60)  # with the reference to both
    assert counted(reference=Q, noise=z) == (5, 60)  # and from the noise to both
    assert counted(noise=z[:, :3]) == (1, 20)  # in another space
    assert counted(quick=True, reference=Q) == (3, 0)
    for numbers, slow in ((12**2 * 4, False), (12**2 * 4 - 1, True)):
        monkeypatch.setattr(measurement, "SLOW", numbers)
        assert counted(reference=Q, noise=z) == ((3, 0) if slow else (5, 60))


def test_halves_take_a_part_of_the_time_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each look takes a second: twenty halves cost 20 / 2^2.3 of one measurement."""
    monkeypatch.setattr(measurement, "TRIED", 1.0)
    monkeypatch.setattr(measurement, "time", SimpleNamespace(perf_counter=itertools.count().__next__))
    pairs = Pairs.of(*np.random.default_rng(0).normal(size=(2, 12, 4)))
    one, all_ = (measurement.effort(pairs, quick).seconds for quick in (True, False))
    assert one == pytest.approx(3**2.3)  # tried at a third of the rows
    assert all_ / one == pytest.approx(1 + 20 / 2**2.3)


def test_a_page_has_each_number_in_its_column_and_says_how_sure_a_cost_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    P, E, Q, step = np.random.default_rng(0).normal(size=(4, 60, 8))
    for name in ("draw_heatmaps", "draw_ranks", "draw_displacements"):
        monkeypatch.setattr(reporting, name, lambda *_: Drawing(Figure((1, 1)), ""))
    found = measurement.measure_all("here", Pairs.of(P, 0.9 * P + 0.4 * E, reference=Q, one_step=step), quick=True)
    transport = dict(found.report.transport)
    assert [solution.gap for solution in transport.values()] == [0.0, 0.0, 0.0]
    transport["e_ot"] = replace(transport["e_ot"], gap=0.002)
    text = reporting.page(replace(found, report=replace(found.report, transport=transport, notes=("<told>",))))
    assert "here: 60 pairs in 8 dimensions. Made by" in text
    assert "<li>&lt;told&gt;</li>" in text
    for line in found.report.lines():
        row = text[text.index(f"<code>{line.key}</code>") :].split("</tr>")[0]
        columns = dict(re.findall(r'data-column="([^"]*)">([^<]*)</td>', row))
        assert columns == {
            "value": line.value,
            "95 % interval": line.interval,
            "random pairing": line.chance,
            "perfect copy": line.best,
        }
        assert f"<small>{escape(METRICS[line.key].reads_as)}</small>" in row
        assert f'<td role="cell">{escape(": ".join(filter(None, (line.verdict, line.reason))))}</td>' in row
        kind = text[: text.index(f"<code>{line.key}</code>")].rpartition('<tr role="row" class="')[2].partition('"')[0]
        assert kind == {"at chance": "at", "within its range": "within"}.get(line.verdict, line.verdict)
    kinds = {line.verdict for line in found.report.lines()}
    assert kinds >= {"", "within its range", "unresolved"}
    assert re.search(r"e_ot = [\d.]+ by [^;]+, certified to 0\.2 %;", text)
    assert re.search(r"e_ot_reference_student = [\d.]+ by [^;]+, exact;", text)


def test_a_measurement_says_what_its_arrays_tell_and_what_so_many_pairs_can_tell() -> None:
    rng = np.random.default_rng(0)
    P, E, z, step, data = rng.normal(size=(5, 40, 3))
    plain, full = (
        measurement.measure_all("here", Pairs.of(P, P + 0.3 * E, **more), quick=True)
        for more in ({}, {"noise": z, "one_step": step, "data": data})
    )
    told = full.analyses[1]
    assert full.in_words() == [*full.report.in_words(), full.report.resolution_in_words(), *told]
    assert full.to_dict()["in_words"] == full.in_words()  # the file says what the page says
    assert full.to_dict()["analyses"] == full.analyses[0]
    assert len(told) > len(plain.analyses[1]) == 1


def test_a_calibration_gives_the_angle_and_few_pairs_no_intervals_of_halves() -> None:
    rng = np.random.default_rng(0)
    z, fresh, E = rng.normal(size=(40, 2)), rng.normal(size=(80, 2)), rng.normal(size=(40, 2))
    known = calibrate(np.tanh, z, fresh_noise=fresh, rng=rng, angles_degrees=(0, 45, 90), shares=(), bases=2)
    pairs = Pairs.of(np.tanh(z), np.tanh(z) + 0.3 * E)
    assert measurement.measure_all("here", pairs, calibration=known, quick=True).report.metrics["remap_angle"].resolved
    for n, interval in ((3, False), (4, True)):
        few = measurement.measure_all("here", Pairs.of(pairs.teacher[:n], pairs.student[:n]))
        assert (few.report.metrics["delta_e"].low is not None) == interval
