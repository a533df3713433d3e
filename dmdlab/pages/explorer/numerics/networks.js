"use strict";
// The networks of dmdlab/networks that travel, as denoisers by EDM's preconditioning: "residual", "mlp", "linear".
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** x (n, inner) times weight (inner, outer), plus bias (outer) or null; all flat. */
  function product(x, inner, weight, outer, bias) {
    const n = x.length / inner;
    const found = new Float64Array(n * outer);
    for (let i = 0; i < n; i += 1) {
      const row = found.subarray(i * outer, (i + 1) * outer);
      if (bias) row.set(bias);
      for (let k = 0; k < inner; k += 1) {
        const a = x[i * inner + k];
        if (a === 0) continue;
        const start = k * outer;
        for (let j = 0; j < outer; j += 1) row[j] += a * weight[start + j];
      }
    }
    return found;
  }

  function silu(h) {
    for (let i = 0; i < h.length; i += 1) h[i] /= 1 + Math.exp(-h[i]);
    return h;
  }

  /** Each row of (n, width) at mean 0 and variance 1, as torch's layer_norm. */
  function normalised(h, width) {
    const found = new Float64Array(h.length);
    for (let start = 0; start < h.length; start += width) {
      let mean = 0;
      for (let j = 0; j < width; j += 1) mean += h[start + j];
      mean /= width;
      let square = 0;
      for (let j = 0; j < width; j += 1) square += (h[start + j] - mean) ** 2;
      const scale = 1 / Math.sqrt(square / width + 1e-5);
      for (let j = 0; j < width; j += 1) found[start + j] = (h[start + j] - mean) * scale;
    }
    return found;
  }

  /** cos and sin of c_noise at frequencies 2 pi 2^-3 ... 2 pi 2^4. */
  function fourier(features, cNoise) {
    const half = features / 2;
    const found = new Float64Array(features);
    for (let k = 0; k < half; k += 1) {
      const phase = cNoise * 2 * Math.PI * 2 ** (-3 + (7 * k) / Math.max(1, half - 1));
      found[k] = Math.cos(phase);
      found[half + k] = Math.sin(phase);
    }
    return found;
  }

  /** The parameters of a packed row by name: subarrays. */
  function named(spec, weights) {
    return Object.fromEntries(
      spec.layout.map(({ name, shape, start }) => [
        name,
        weights.subarray(start, start + shape.reduce((a, b) => a * b, 1)),
      ]),
    );
  }

  function residual(spec, p, d) {
    const { width, depth } = spec;
    return (x, level) => {
      const shift = product(level, level.length, p["level.weight"], width, p["level.bias"]);
      let h = product(x, d, p["enter.weight"], width, shift);
      for (let k = 0; k < depth; k += 1) {
        const inner = silu(product(normalised(h, width), width, p[`up.${k}.weight`], width, p[`up.${k}.bias`]));
        const step = product(inner, width, p[`down.${k}.weight`], width, null);
        for (let i = 0; i < h.length; i += 1) h[i] += step[i];
      }
      return product(normalised(h, width), width, p["out.weight"], d, p["out.bias"]);
    };
  }

  function mlp(spec, p, d) {
    const { width, depth } = spec;
    return (x, level) => {
      const first = p["hidden.0.weight"]; // (d + features, width): the level's part is the same for all rows
      const shift = product(level, level.length, first.subarray(d * width), width, p["hidden.0.bias"]);
      let h = silu(product(x, d, first, width, shift));
      for (let k = 1; k < depth; k += 1) {
        h = silu(product(h, width, p[`hidden.${k}.weight`], width, p[`hidden.${k}.bias`]));
      }
      return product(h, width, p["out.weight"], d, p["out.bias"]);
    };
  }

  function linear(spec, p, d) {
    return (x, level) => {
      const features = Float64Array.from([1, ...level]);
      const matrix = product(features, features.length, p["matrices.weight"], d * d, null);
      const bias = p["vectors.weight"] ? product(features, features.length, p["vectors.weight"], d, null) : null;
      return product(x, d, matrix, d, bias);
    };
  }

  const KINDS = { residual, mlp, linear };

  /** A network of the payload and its parameters (flat) -> its denoiser (x, sigma) -> Float64Array, sigma a number. */
  function networkDenoiser(spec, weights, d = 2) {
    if (!Object.hasOwn(KINDS, spec.kind)) throw new Error(`a network of a kind that does not run here: ${spec.kind}`);
    const network = KINDS[spec.kind](spec, named(spec, weights), d);
    const data = spec.sigma_data;
    return (x, sigma) => {
      const total = sigma * sigma + data * data;
      const root = Math.sqrt(total);
      const skip = (data * data) / total;
      const out = (sigma * data) / root;
      const found = network(
        x.map((value) => value / root),
        fourier(spec.time_features, Math.log(sigma) / 4),
      );
      for (let i = 0; i < found.length; i += 1) found[i] = skip * x[i] + out * found[i];
      return found;
    };
  }

  Object.assign(numerics, { networkDenoiser });
})((globalThis.dmdlab ??= {}));
