"""Named streams, latents and draws many steps at a time: independent of batch, ensemble and global state."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from dmdlab.randomness import generator, latents, stream
from dmdlab.training.draws import Draws, Source, block_steps

NAMES = [(0,), (1,), (0, "latents"), (1, "latents"), (0, "distill", "noise"), (0, "distill", "level"), (0, "distill/x")]


def draws(*name: int | str) -> np.ndarray:
    return stream(*name).standard_normal(512)  # type: ignore[arg-type]


def test_a_stream_is_its_name() -> None:
    for name in NAMES:
        np.testing.assert_array_equal(draws(*name), draws(*name))
        first = torch.rand(64, generator=generator(*name))  # type: ignore[arg-type]
        assert torch.equal(first, torch.rand(64, generator=generator(*name)))  # type: ignore[arg-type]


def test_streams_of_other_names_or_seeds_are_uncorrelated() -> None:
    numpy = np.stack([draws(*name) for name in NAMES])
    torches = np.stack([torch.randn(512, generator=generator(*name)).numpy() for name in NAMES])  # type: ignore[arg-type]
    for block in (numpy, torches):
        correlation = np.corrcoef(block)[np.triu_indices(len(NAMES), 1)]
        assert np.abs(correlation).max() < 5 / np.sqrt(512)  # five standard errors


def test_a_latent_does_not_depend_on_how_many_are_drawn() -> None:
    many = latents(3, 100, 5, 80.0)
    for n in (1, 2, 17, 99):
        assert torch.equal(latents(3, n, 5, 80.0), many[:n])
    assert many.dtype == torch.float32
    assert many.device.type == "cpu"


def test_latents_are_the_prior_scaled_and_named() -> None:
    z = latents(0, 4000, 8, 80.0).double()
    error = 5 / np.sqrt(z.numel())
    assert z.mean().abs() < 80 * error
    assert z.std() == pytest.approx(80.0, rel=error)
    assert torch.equal(latents(0, 10, 8, 2.0) * 4, latents(0, 10, 8, 8.0))
    assert not torch.equal(latents(0, 10, 8, 80.0), latents(1, 10, 8, 80.0))
    assert not torch.equal(latents(0, 10, 8, 80.0), latents(0, 10, 8, 80.0, "fresh latents"))


def test_latents_of_a_seed_are_these_numbers() -> None:
    """Latents are named by SHA-256 and drawn by Philox; another numpy or machine must draw the same ones."""
    key = int.from_bytes(hashlib.sha256(b"0/latents").digest()[:16], "little")
    by_hand = np.random.Generator(np.random.Philox(key=key)).standard_normal((2, 2), dtype=np.float32)
    z = latents(0, 2, 2, 1.0).numpy()
    np.testing.assert_array_equal(z, by_hand)
    np.testing.assert_allclose(z, [[1.2064047, 0.9645492], [0.4130572, -1.2458433]], rtol=1e-6)


def block(g: torch.Generator, steps: int) -> Tensor:
    return torch.rand((steps, 3), generator=g)


def source(*seeds: int) -> Source:
    return Source(block, [generator(s) for s in seeds])


def test_drawing_ahead_gives_each_member_its_own_stream() -> None:
    def first(members: list[int], count: int = 7) -> Tensor:
        streams = Draws([source(*members)], 4)
        return torch.stack([step for (step,) in itertools.islice(streams, count)], dim=1)

    together = first([5, 6, 7])  # (e, steps, 3)
    for place, seed in enumerate([5, 6, 7]):
        assert torch.equal(first([seed])[0], together[place])
    own = generator(6)
    expected = torch.cat([block(own, 4), block(own, 4)])[:7]  # blocks of 4 steps, the second cut short
    assert torch.equal(together[1], expected)


def test_a_further_source_leaves_the_others_as_they_were() -> None:
    one, two = Draws([source(5, 6)], 4), Draws([source(5, 6), source(7, 8)], 4)
    for (alone,), (first, second) in itertools.islice(zip(one, two, strict=True), 9):
        assert torch.equal(alone, first)
        assert not torch.equal(first, second)


@pytest.mark.parametrize("taken", [0, 1, 3, 4, 5, 11])
def test_streams_go_on_from_where_they_were_kept(taken: int) -> None:
    def streams() -> Draws:
        return Draws([source(5, 6), source(7, 8)], 4)

    straight = streams()
    list(itertools.islice(straight, taken))
    states, given_out = straight.state()
    assert states.shape[:2] == (2, 2)
    states = states.clone()
    expected = [torch.stack(step) for step in itertools.islice(straight, 9)]
    resumed = streams()
    next(resumed)  # wherever it stands
    resumed.restore(states, given_out)
    for step, want in zip(itertools.islice(resumed, 9), expected, strict=True):
        assert torch.equal(torch.stack(step), want)
    alone = Draws([source(0), source(0)], 4)
    alone.restore(states[1:], given_out)  # a member's row is enough
    assert torch.equal(torch.stack(next(alone))[:, 0], expected[0][:, 1])


def test_block_steps_keeps_to_its_budget() -> None:
    assert [block_steps(n, 1000) for n in (0, 1, 100, 500, 999, 5000)] == [64, 64, 10, 2, 1, 1]


def test_nothing_here_touches_the_global_generators() -> None:
    numpy_before, torch_before = np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 (the state we guard)
    draws(0, "x"), latents(0, 5, 3, 80.0)
    next(Draws([source(0)], 2))
    numpy_after = np.random.get_state()  # noqa: NPY002
    assert all(np.array_equal(a, b) for a, b in zip(numpy_before, numpy_after, strict=True))
    assert torch.equal(torch_before, torch.get_rng_state())
