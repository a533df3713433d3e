"""The sentences under a figure and which figures there are, number by number."""

import numpy as np
from made import Made, made

from dmdlab.plots.captions import flagged, made_on, outside, provenance, seeds, setup, values
from dmdlab.plots.endings import figures_of_run, figures_of_sweep
from dmdlab.records.cells import cells


def elsewhere(record: Made, **environment: str) -> Made:
    return Made(record.folder, record.summary, record.config, record.environment | environment)


def test_a_setup_names_each_number_by_its_own_setting() -> None:
    own = {"teacher__steps": 7, "noise__sigma_max": 5.0, "measure__samples": 300, "law__seed": 3}
    assert setup([made("mixture", seed=9, **own)]) == (
        "Law instance: law.seed = 3. Teacher: the exact denoiser; its flow takes K = 7 steps from sigma_max = 5. "
        "Every measurement uses n = 300 samples."
    )
    both = [made("ring", teacher__kind=kind, noise__sigma_max=s) for kind, s in (("network", 80.0), ("exact", 5.0))]
    assert setup(both).startswith("Teacher: a trained network or the exact denoiser; its flow takes K = ")
    assert "from sigma_max = 80 or 5. " in setup(both)
    assert setup([]).startswith("Teacher: unknown; its flow takes K = unknown steps")


def test_what_a_figure_was_made_of_is_counted_and_named() -> None:
    runs = [made(seed=s, ok=s != 1) for s in range(3)]
    assert flagged(runs) == "The teacher failed its own check in 1 of these runs. "
    assert flagged(runs[:1]) == ""
    assert provenance(runs[:1]) == "Made on Example CPU, 2 threads, commit 0123456789ab. 1 run: mix008te00v2."
    assert provenance(runs[:2]).endswith(" 2 runs: mix008te00v2 mix008te01v2.")
    two = [runs[0], elsewhere(runs[1], hardware="Another CPU", commit="c")]
    assert made_on(two) == "Made on Example CPU, 2 threads or Another CPU, commit 0123456789ab or c."
    assert values([elsewhere(runs[0], hardware="x"), *runs], "hardware") == ["x", "Example CPU, 2 threads"]


def test_seeds_are_counted_from_the_fewest_to_the_most() -> None:
    few, many = ([made(init=init, seed=s) for s in range(n)] for init, n in (("teacher", 4), ("rotated", 8)))
    assert seeds(cells([*many, *few])) == seeds(cells([*few, *many])) == "4 to 8 seeds"
    assert (seeds(cells(few)), seeds(cells(few[:1]))) == ("4 seeds", "one seed (no interval)")


def test_points_outside_are_counted_of_all_by_the_name_of_their_panel() -> None:
    points = {"$G$\nd = 2": np.array([True, False, True]), "none": np.zeros(3, dtype=bool)}
    assert outside(points, "why") == "Points outside of the panels, why: G, d = 2: 2 of 3. "
    assert outside({"none": points["none"]}, "why") == ""


def test_a_run_ends_with_the_view_of_its_law_and_a_sweep_with_the_plot_of_its_axes() -> None:
    plane, wide, pictures = made("ring", 2), made("mixture", 8), made("field", 16, law__side=4)
    assert figures_of_run([plane]) == ["panels", "curve"]
    assert figures_of_run([wide]) == ["components", "curve"]
    assert figures_of_run([pictures]) == ["components", "pictures", "curve"]
    assert figures_of_sweep([wide, made("mixture", 8, seed=1)]) == ["components", "curve"]  # the seed is no axis
    assert figures_of_sweep([wide, made("mixture", 8, result_version=1)]) == ["components", "curve"]
    assert figures_of_sweep([plane, made("ring", 8)]) == ["dimension", "curve"]
    assert figures_of_sweep([wide, made("mixture", 16)]) == ["dimension", "curve"]
    rated = [made("ring", d, student__learning_rate=r) for d in (2, 8) for r in (1e-4, 1e-3)]
    for run in rated:
        run.summary["id"] += f"{run.config['student.learning_rate']}"
    assert figures_of_sweep(rated) == ["axis", "curve"]
    assert figures_of_sweep([plane, made("ring", 8, status="failed")]) == ["panels", "curve"]
