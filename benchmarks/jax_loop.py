"""The other peer: one-step DMD in JAX, pure functions of one student, many cycles compiled by XLA into one program.

A cycle is that of `benchmarks.plain_loop`; members run side by side (`vmap`) or one after another (`lax.map`), each
with random numbers from a key of its own. It shares the law, the experiment's numbers and the start with dmdlab and
nothing else; `tests/test_plain_loop.py` holds it against dmdlab's: the same parameters from the same numbers.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.plain_loop import refuse_other_losses
from dmdlab.config import Experiment, InputError
from dmdlab.laws import Law
from dmdlab.laws.mixture import Mixture
from dmdlab.networks import Ensemble, network_settings
from dmdlab.networks.mlp import MLPSettings

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8

Array = jax.Array
Parameters = dict[str, Array]
"""By the names of dmdlab's layers, weights (inputs, outputs) and biases (1, outputs)."""


class Trained(NamedTuple):
    """A network in training: AdamW's averages of its gradient and its square, and the steps so far, ()."""

    parameters: Parameters
    mean: Parameters
    square: Parameters
    steps: Array


class JaxDMD:
    """Students with their fake scores, and `run()`, which does `cycles` cycles of all of them.

    start: name -> (e, ...), the start of student and fake score; teacher: the same of a network teacher, nothing for an
    exact one (an isotropic mixture). For tests: draw, (a member's key, number of the cycle) -> z (k, n, d),
    u (1 + k, n, 1), eps (1 + k, n, d); fake, another start of the fake score. Raises `InputError` for options that this
    loop does not know.
    """

    def __init__(
        self,
        experiment: Experiment,
        law: Law,
        start: Mapping[str, np.ndarray],
        teacher: Mapping[str, np.ndarray] | None = None,
        over: Literal["map", "vmap"] = "map",
        cycles: int = 1,
        draw: Callable[[Array, Array], tuple[Array, Array, Array]] | None = None,
        fake: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        refuse_other_losses(experiment)
        if experiment.fake_score.batches != "shared":
            raise InputError("the JAX loop knows fake_score.batches = 'shared' only")
        settings = network_settings(experiment.network)
        assert isinstance(settings, MLPSettings)
        self.e, self.settings, self.sigma_data = experiment, settings, law.sigma_data
        self.mixture: tuple[Array, Array, float] | None = None
        if teacher is None:
            if not isinstance(law, Mixture) or law.rank:
                raise InputError("the JAX loop's exact teacher is an isotropic mixture")
            self.mixture = jnp.asarray(law.means.numpy()), jnp.asarray(law.log_weights.numpy()), law.floor
        members = len(next(iter(start.values())))
        self.state = trained(start, members), trained(fake or start, members)  # student, fake score
        self.teacher = jax.tree.map(jnp.array, dict(teacher or {}))
        self.keys: Any = jax.random.split(jax.random.key(0), members)
        self.draw = draw or self.numbers

        member = partial(self.cycles, cycles)
        each = jax.vmap(member) if over == "vmap" else lambda *ensemble: lax.map(lambda own: member(*own), ensemble)
        self.program = jax.jit(each, donate_argnums=0)

    def run(self) -> Array:
        """`cycles` cycles of every member; the DM and score losses, (e, cycles, 2)."""
        self.state, losses = jax.block_until_ready(self.program(self.state, self.keys, self.teacher))
        return losses

    def cycles(self, many: int, state: Any, key: Array, teacher: Parameters) -> Any:
        """So many cycles of one member; the state, and the losses (many, 2)."""

        def one(state: Any, _: None) -> Any:
            return self.cycle(state, teacher, *self.draw(key, state[0].steps.astype(jnp.int32)))

        return lax.scan(one, state, None, length=many)

    def numbers(self, key: Array, cycle: Array) -> tuple[Array, Array, Array]:
        """One cycle's random numbers of one member."""
        k, n, d = self.e.fake_score.updates, self.e.student.batch, self.e.law.dim
        latents, level, noise = jax.random.split(jax.random.fold_in(key, cycle), 3)
        z = jax.random.normal(latents, (k, n, d)) * self.e.noise.sigma_max
        return z, jax.random.uniform(level, (1 + k, n, 1)), jax.random.normal(noise, (1 + k, n, d))

    def cycle(self, state: Any, teacher: Parameters, z: Array, u: Array, eps: Array) -> Any:
        """One student update and k fake-score updates of one member; the state, and the two losses (2,)."""
        (student, fake), s, f = state, self.e.student, self.e.fake_score
        x, back = jax.vjp(lambda p: self.generate(p, z[0]), student.parameters)
        sigma = self.levels(u[0], s.levels)
        x_sigma = x + sigma * eps[0]
        real, own = self.judge(teacher, x_sigma, sigma), self.denoise(fake.parameters, x_sigma, sigma)
        direction = (own - real) / jnp.abs(x - real).mean(-1, keepdims=True)
        cycles = math.ceil(s.iterations / f.updates)
        rate = s.learning_rate * self.factor(student.steps, cycles, math.ceil(s.warmup / f.updates))
        student = self.adamw(student, back(direction / x.size)[0], rate)
        fresh = self.generate(student.parameters, z[1:].reshape(-1, z.shape[-1])).reshape(z[1:].shape)
        score = jnp.zeros(())
        for j, sample in enumerate([x, *fresh]):
            sigma = self.levels(u[j + 1], f.levels)
            x_sigma, weight = sample + sigma * eps[j + 1], 1 / sigma**2 + 1 / self.sigma_data**2

            def loss(p: Parameters, x: Array, given: Array, sigma: Array, weight: Array) -> Array:
                return (weight * (self.denoise(p, given, sigma) - x) ** 2).mean()

            score, gradient = jax.value_and_grad(loss)(fake.parameters, sample, x_sigma, sigma, weight)
            rate = f.learning_rate * self.factor(fake.steps, cycles * f.updates, s.warmup)
            fake = self.adamw(fake, gradient, rate)
        return (student, fake), jnp.stack([0.5 * (direction**2).mean(), score])

    def generate(self, p: Parameters, z: Array) -> Array:
        """G(z), (n, d); its one level is embedded once."""
        return self.denoise(p, z, jnp.full((1, 1), self.e.noise.sigma_max, z.dtype))

    def denoise(self, p: Parameters, x: Array, sigma: Array) -> Array:
        """D(x, sigma), x (n, d), sigma (n, 1) or (1, 1)."""
        own, total = self.sigma_data, sigma**2 + self.sigma_data**2
        root = jnp.sqrt(total)
        return own**2 / total * x + sigma * own / root * self.network(p, x / root, jnp.log(sigma) / 4)

    def network(self, p: Parameters, x: Array, c_noise: Array) -> Array:
        """The paper's toy network or the quickstart's."""
        frequencies = 2 * math.pi * 2.0 ** np.linspace(-3, 4, self.settings.time_features // 2)
        phase = c_noise * jnp.asarray(frequencies, x.dtype)
        level = jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], -1)
        if self.e.network.kind == "mlp":
            h = jnp.concatenate([x, jnp.broadcast_to(level, (len(x), level.shape[1]))], -1)
            for i in range(self.settings.depth):
                h = jax.nn.silu(affine(p, f"hidden.{i}", h))
            return affine(p, "out", h)
        h = x @ p["enter.weight"] + affine(p, "level", level)
        for i in range(self.settings.depth):
            h = h + jax.nn.silu(affine(p, f"up.{i}", normalised(h))) @ p[f"down.{i}.weight"]
        return affine(p, "out", normalised(h))

    def judge(self, teacher: Parameters, x: Array, sigma: Array) -> Array:
        """The teacher's E[x0 | x_sigma], (n, d)."""
        if self.mixture is None:
            return self.denoise(teacher, x, sigma)
        means, log_weights, floor = (jnp.asarray(each, x.dtype) for each in self.mixture)
        v = floor + sigma**2
        w = jax.nn.softmax(log_weights + (x @ means.T - (means**2).sum(-1) / 2) / v, axis=-1)
        return floor / v * x + sigma**2 / v * (w @ means)

    def levels(self, u: Array, bounds: tuple[float, float]) -> Array:
        """Noise levels uniform in this part of the Karras index, (n, 1)."""
        noise = self.e.noise
        low, high = noise.sigma_min ** (1 / noise.rho), noise.sigma_max ** (1 / noise.rho)
        return (low + (bounds[0] + u * (bounds[1] - bounds[0])) * (high - low)) ** noise.rho

    def factor(self, step: Array, total: int, warmup: int) -> Array:
        """Of the learning rate: linear warm-up, then constant or a cosine to 0 at `total`."""
        ramp = jnp.minimum(1.0, (step + 1) / warmup) if warmup else jnp.ones(())
        if self.e.student.decay == "constant":
            return ramp
        return ramp * 0.5 * (1 + jnp.cos(math.pi * jnp.clip((step - warmup) / max(1, total - warmup), 0, 1)))

    def adamw(self, at: Trained, gradient: Parameters, rate: Array) -> Trained:
        """One step, the gradient's norm limited first."""
        clip, decay = self.e.student.clip, self.e.student.weight_decay
        if clip:
            size = jnp.sqrt(sum((g**2).sum() for g in gradient.values()))
            gradient = jax.tree.map(lambda g: g * jnp.minimum(clip / size, 1.0), gradient)
        steps = at.steps + 1
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, at.mean, gradient)
        square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g**2, at.square, gradient)
        one, two = 1 - BETA1**steps, 1 - BETA2**steps

        def moved(p: Array, m: Array, s: Array) -> Array:
            return (p * (1 - rate * decay) - rate / one * m / (jnp.sqrt(s / two) + EPS)).astype(p.dtype)

        return Trained(jax.tree.map(moved, at.parameters, mean, square), mean, square, steps)


def affine(p: Parameters, layer: str, x: Array) -> Array:
    """x (n, inputs) -> (n, outputs)."""
    return x @ p[f"{layer}.weight"] + p[f"{layer}.bias"]


def normalised(h: Array) -> Array:
    """Each row (n, width) at mean 0 and variance 1, as torch's `layer_norm` has it."""
    centred = h - h.mean(-1, keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def trained(start: Mapping[str, np.ndarray], members: int) -> Trained:
    """Networks before their first step, all arrays new ones, which the program may overwrite."""
    p, mean, square = (jax.tree.map(make, dict(start)) for make in (jnp.array, jnp.zeros_like, jnp.zeros_like))
    return Trained(p, mean, square, jnp.zeros(members, next(iter(p.values())).dtype))


def rows_of(network: Ensemble) -> dict[str, np.ndarray]:
    """The parameters of dmdlab's networks under their names, (e, ...)."""
    return {name: p.detach().cpu().numpy() for name, p in network.named_parameters()}
