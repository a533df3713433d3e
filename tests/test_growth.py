"""A new network kind, a new law and a new loss term are one class and one line in their catalogue, and nothing else.

Each (`grown.py`) is entered in its catalogue for a test: it trains, is planned, profiled, kept in mid-training, goes
on to the same end to the last bit, and ends as records.
"""

import csv
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from grown import Coins, Convolutional, Critic, CriticSettings, Dice
from recorder import pretend
from small import CPU, TINY, group_of, law_of, parameters, start_denoiser
from torch import Tensor

from dmdlab.config import Experiment, InputError
from dmdlab.device.capture import WARM_UP
from dmdlab.device.compiling import Way
from dmdlab.experiments import load, meanings, spelled_out
from dmdlab.group import Group
from dmdlab.lab.checkpoint import Checkpoint
from dmdlab.lab.plan import plan
from dmdlab.lab.profile import PRODUCTS, distillation_subject, profile
from dmdlab.lab.run import DISTILLING, Progress, run_group
from dmdlab.lab.store import Store
from dmdlab.lab.sweep import sweep
from dmdlab.laws import LAWS
from dmdlab.networks import NETWORKS, network_settings
from dmdlab.records.record import Record, load_records
from dmdlab.training.cycle import NUMBERS
from dmdlab.training.distill import Distillation, distillation_from
from dmdlab.training.terms import TERMS, Around, Batch


@pytest.fixture(autouse=True)
def catalogues(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that has to be done to add them."""
    monkeypatch.setitem(NETWORKS, "convolutional", Convolutional)
    monkeypatch.setitem(LAWS, "coins", Coins)
    monkeypatch.setitem(LAWS, "dice", Dice)
    monkeypatch.setitem(TERMS, "critic", Critic)


# --- from the plan to the record


class Kept(Store):
    """A store that keeps a training whenever it can."""

    def checkpoint(self, group: Group, device: torch.device) -> Checkpoint:
        return Checkpoint(self.out, group.ids, device, self.finished_ids, every=0.0)


SMALL = (
    *(word for word in TINY if not word.startswith("network.")),
    "teacher.steps=4",
    "student.iterations=60",
    "student.warmup=10",
)
RESIDUAL, CONVOLUTIONAL = ("network.width=8", "network.depth=1"), ("network.kind=convolutional",)
ADDED = {
    "a network": (*CONVOLUTIONAL, "law.dim=6", "network.channels=[3, 5, 2]", "network.kernel=5"),
    "a law": (*RESIDUAL, "law.name=coins", "law.scale=1.5", "law.dim=3"),
    "a law without a denoiser": (*RESIDUAL, "law.name=dice", "teacher.kind=network"),
    "a term": (*RESIDUAL, "terms.critic.weight=0.3", "terms.critic.width=5"),
    "all of them": (
        *CONVOLUTIONAL,
        "network.channels=[3, 5, 2]",
        "law.name=coins",
        "terms.critic.weight=0.3",
        "teacher.kind=network",
    ),
}
DEFAULT = ("a law without a denoiser", "all of them")
"""Together they have every addition; one at a time they are tried with `-m slow`."""
each_added = pytest.mark.parametrize(
    "added", [pytest.param(name, marks=[] if name in DEFAULT else pytest.mark.slow) for name in ADDED]
)


def experiments(*words: str) -> list[Experiment]:
    return load(None, None, [*SMALL, *words]).experiments()


def wanted(added: str) -> list[Experiment]:
    """Two seeds of it."""
    return experiments(*ADDED[added], "seed=[0, 1]")


@each_added
def test_it_is_planned_and_profiled(added: str) -> None:
    (part,) = plan(wanted(added), CPU).parts
    assert len(part.group) == 2
    assert part.flops > 0
    assert part.bytes > 0
    work = distillation_subject(part.group, CPU)
    shown = profile(work, cycles=1, limit_s=0.01)
    assert shown.flops == work.flops > 0
    assert sum(shown.kinds.values()) == pytest.approx(shown.cycle_ms)
    assert shown.kinds[PRODUCTS] > 0  # convolutions are products


def swept(es: list[Experiment], store: Store) -> tuple[list[Record], int]:
    """The records, and the iteration at which the distillation began or went on."""
    planned = plan(store.missing(es), CPU)
    began = [e.done for _, e in sweep(planned, store) if isinstance(e, Progress) and e.stage == DISTILLING]
    return load_records(store.out), began[0]


@each_added
def test_it_goes_on_from_mid_training_to_the_same_records(added: str, tmp_path: Path) -> None:
    es, broken = wanted(added), Store(tmp_path / "broken")
    straight, began = swept(es, Store(tmp_path / "straight"))
    assert began == 0
    for event in run_group(group_of(*es), Kept(broken.out), CPU):
        if isinstance(event, Progress) and event.stage == DISTILLING and event.done >= 30:
            break
    resumed, began = swept(es, broken)
    assert 0 < began <= 30
    assert [r.row["status"] for r in resumed] == ["done", "done"]
    assert len(resumed) == len(straight) == 2
    for a, b in zip(resumed, straight, strict=True):
        assert a.config == b.config
        assert a.summary == b.summary
        for file in ("curve.csv", "student.npy", "student.safetensors"):
            assert (a.folder / file).read_bytes() == (b.folder / file).read_bytes()
    assert not np.array_equal(resumed[0].arrays()["student"], resumed[1].arrays()["student"])


# --- what is each one's own


def test_a_networks_settings_are_axes_checked_and_named_by_its_kind() -> None:
    es = experiments(*CONVOLUTIONAL, "network.kernel=[1, 3]", "network.channels=[6, 4]")
    assert [network_settings(e.network).kernel for e in es] == [1, 3]
    assert len({e.id for e in es}) == 2
    assert spelled_out(es[0])["network.channels"] == [6, 4]
    assert meanings(es[0])["network.kernel"] == "coordinates that a convolution sees at a time"
    assert es[1] == experiments(*CONVOLUTIONAL)[0]  # at their defaults they are left out
    with pytest.raises(
        InputError, match=r"unknown key 'network\.width'; valid names: network\.channels, network\.kernel"
    ):
        experiments(*CONVOLUTIONAL, "network.width=8")
    with pytest.raises(InputError, match=r"network\.kernel: .*greater than or equal to 1, got 0"):
        experiments(*CONVOLUTIONAL, "network.kernel=0")


def term(*words: str, seeds: Sequence[int] = (0,)) -> list[Experiment]:
    return experiments(*RESIDUAL, *words, f"seed={list(seeds)}")


def loop_of(es: Sequence[Experiment], way: Way | None = None) -> Distillation:
    return distillation_from(group_of(*es), law_of(es[0]), start_denoiser(es).network.flat, way=way)


def test_a_term_of_no_weight_is_the_plain_run() -> None:
    (plain,), (off,), (on,) = term(), term("terms.critic.weight=0"), term("terms.critic.weight=0.3")
    assert off == plain
    assert off.id == plain.id != on.id
    assert off.teacher_id == on.teacher_id
    assert tuple(loop_of([off]).report().numbers) == NUMBERS


def test_a_terms_network_is_in_the_plan() -> None:
    (plain,), (on,) = plan(term(seeds=(0, 1)), CPU).parts, plan(wanted("a term"), CPU).parts
    assert on.flops > plain.flops
    assert on.bytes > plain.bytes


def test_a_terms_numbers_are_columns_of_the_curve(tmp_path: Path) -> None:
    (record, _), _ = swept(wanted("a term"), Store(tmp_path))
    with (record.folder / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 2
    assert {"dm_loss", "critic_difference", "critic_size", "variance_ratio"} <= set(rows[0])
    assert all(math.isfinite(float(row["critic_difference"])) and float(row["critic_size"]) > 0 for row in rows)


def test_a_term_leaves_all_other_draws_as_they_were() -> None:
    (plain,), (on,) = term(), term("terms.critic.weight=0.3")
    with_term, without = loop_of([on]), loop_of([plain])
    for (z, u, eps, *own), others in islice(zip(with_term.draws, without.draws, strict=True), 5):
        assert len(own) == 2
        assert all(torch.equal(a, b) for a, b in zip((z, u, eps), others, strict=True))


def test_a_term_changes_the_student_by_its_weight_and_trains_its_own_network() -> None:
    ends = {}
    for weight in (1e-30, 0.3, 3.0):
        loop = loop_of(term(f"terms.critic.weight={weight}"))
        before = loop.trained["critic.critic"].parameters.clone()
        for _ in range(4):
            loop.cycle()
        ends[weight] = parameters(loop)[0].clone()
        assert (loop.trained["critic.critic"].parameters - before).abs().max() > 1e-3
    plain = loop_of(term())
    for _ in range(4):
        plain.cycle()
    assert torch.equal(ends[1e-30], parameters(plain)[0])
    assert not torch.equal(ends[0.3], ends[1e-30])
    assert not torch.equal(ends[3.0], ends[0.3])


def test_a_terms_member_is_alone_what_it_is_among_others() -> None:
    es = term("terms.critic.weight=0.3", seeds=(0, 1, 2))
    together = loop_of(es)
    numbers = [after_a_cycle(together) for _ in range(10)]
    for i, e in enumerate(es):
        alone = loop_of([e])
        for expected in numbers:
            torch.testing.assert_close(after_a_cycle(alone)[:, 0], expected[:, i], rtol=1e-4, atol=1e-5)


def after_a_cycle(loop: Distillation) -> Tensor:
    loop.cycle()
    return torch.stack(list(loop.report().numbers.values()))


def test_a_cycle_with_a_term_can_be_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, es = pretend(monkeypatch), term("terms.critic.weight=0.3", seeds=(0, 1))
    eager, graph = loop_of(es, "eager"), loop_of(es, "graph")
    for optimiser in eager.optimisers.values():
        optimiser.in_place = False  # torch's kernel rounds otherwise than the formula that a graph goes by
    for _ in range(8):
        assert torch.equal(after_a_cycle(graph), after_a_cycle(eager))
    assert [g.replays for g in graphs] == [8 - WARM_UP]


class Critics(Critic):
    """Two of them, whose losses come in another order than their optimisers."""

    def __init__(self, around: Around, settings: CriticSettings) -> None:
        super().__init__(around, settings)
        self.second = Critic(around, settings.model_copy(update={"learning_rate": 3e-2}))
        self.optimisers |= {"second": self.second.optimisers["critic"]}

    def critic_loss(self, batch: Batch, update: int, drawn: Sequence[Tensor]) -> tuple[Tensor, Sequence[Tensor]]:
        second, _ = self.second.critic_loss(batch, update, drawn)
        first, numbers = super().critic_loss(batch, update, drawn)
        return second + first, numbers


def test_a_terms_networks_keep_apart_however_a_cycle_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch)
    monkeypatch.setitem(TERMS, "critic", Critics)
    loops = [loop_of(term("terms.critic.weight=0.3"), way) for way in ("eager", "graph")]
    for optimiser in loops[0].optimisers.values():
        optimiser.in_place = False
    for _ in range(WARM_UP + 2):
        eager, graph = map(after_a_cycle, loops)
        assert torch.equal(graph, eager)
    ends = [loop.trained for loop in loops]
    assert list(ends[0]) == list(ends[1]) == ["student", "fake", "critic.critic", "critic.second"]
    for name in ends[0]:
        assert torch.equal(ends[0][name].parameters, ends[1][name].parameters)
    assert not torch.equal(ends[0]["critic.critic"].parameters, ends[0]["critic.second"].parameters)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["terms.critik.weight=1"], r"terms\.critik is not a term of the loss; did you mean 'terms.critic'"),
        (
            ["terms.critic.weight=1", "terms.critic.widht=1"],
            r"unknown key 'terms\.critic\.widht'; did you mean 'terms.critic.width'",
        ),
        (["terms.critic.width=3"], r"terms\.critic\.weight: "),
        (["terms.critic.weight=-1"], r"terms\.critic\.weight: .*greater than or equal to 0, got -1"),
        (["terms.critic=1"], r"terms\.critic: .*got 1"),
    ],
)
def test_a_wrong_term_is_refused_in_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        term(*words)


def test_terms_mean_the_same_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TERMS, "another", Critic)
    words = ["terms.critic.weight=0.3", "terms.another.weight=0.2", "terms.another.width=3"]
    (one,), (two,) = term(*words), term(*words[::-1])
    assert one.id == two.id
    assert len(group_of(one, two)) == 2
    assert list(loop_of([one]).report().numbers) == list(loop_of([two]).report().numbers)
