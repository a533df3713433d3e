"use strict";
// Phi_K: the probability-flow ODE on the Karras grid (dmdlab/diffusion/flow.py), and scores from denoisers.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** The K + 1 levels of a K-step sampler, sigma_max first, 0 last. */
  function karrasGrid(steps, { sigma_min: low, sigma_max: high, rho }) {
    const [a, b] = [low ** (1 / rho), high ** (1 / rho)];
    const grid = [];
    for (let i = 0; i < steps; i += 1) grid.push((a + (steps > 1 ? 1 - i / (steps - 1) : 1) * (b - a)) ** rho);
    return [...grid, 0];
  }

  /** The states of the flow at every level of the grid, z first: K + 1 arrays. */
  function path(denoise, z, grid, solver = "heun") {
    const states = [Float64Array.from(z)];
    for (let k = 0; k + 1 < grid.length; k += 1) {
      const [here, there] = [grid[k], grid[k + 1]];
      const x = states[k];
      const slope = slopeAt(denoise, x, here);
      let next = moved(x, slope, there - here);
      if (solver === "heun" && there > 0) {
        const again = slopeAt(denoise, next, there);
        next = moved(x, slope.map((s, i) => (s + again[i]) / 2), there - here);
      }
      states.push(next);
    }
    return states;
  }

  function slopeAt(denoise, x, sigma) {
    return denoise(x, sigma).map((clean, i) => (x[i] - clean) / sigma);
  }

  function moved(x, slope, by) {
    return x.map((value, i) => value + by * slope[i]);
  }

  /** Phi_K(z). */
  function flow(denoise, z, grid, solver = "heun") {
    return path(denoise, z, grid, solver).at(-1);
  }

  /** grad log p_sigma at x, by Tweedie's formula. */
  function score(denoise, x, sigma) {
    return denoise(x, sigma).map((clean, i) => (clean - x[i]) / (sigma * sigma));
  }

  /** s_teacher - s_fake at x: where distribution matching pushes the student's noised points. */
  function dmdArrow(teacher, fake, x, sigma) {
    const own = fake(x, sigma);
    return teacher(x, sigma).map((clean, i) => (clean - own[i]) / (sigma * sigma));
  }

  Object.assign(numerics, { karrasGrid, path, flow, score, dmdArrow });
})((globalThis.dmdlab ??= {}));
