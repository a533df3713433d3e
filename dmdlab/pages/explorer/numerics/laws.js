"use strict";
// Exact denoisers E[x0 | x_sigma] of laws in the plane: Gaussians, uniform boxes, a circle. Points are flat (n * 2).
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** law.exact of the payload -> (x, sigma) -> Float64Array; throws an Error for a kind that there is not. */
  function exactDenoiser(exact) {
    const kinds = { gaussians: ofGaussians, boxes: ofBoxes, circle: ofCircle };
    if (!exact || !Object.hasOwn(kinds, exact.kind)) throw new Error("a law without an exact denoiser in the plane");
    return kinds[exact.kind](exact);
  }

  /** Mixtures sum_k w_k N(mu_k, C_k): dmdlab/laws/mixture.py, Eq. (2) and (3), C_k of any kind. */
  function ofGaussians({ log_weights: logWeights, means, covariances }) {
    const count = means.length;
    return (x, sigma) => {
      const s = sigma * sigma;
      // of each component: mean, inverse of C + s I (three numbers), gain C (C + s I)^-1 (four), and its logarithm
      const at = new Float64Array(count * 10);
      for (let k = 0; k < count; k += 1) {
        const [xx, xy, yy] = covariances.length === 1 ? covariances[0] : covariances[k];
        const determinant = (xx + s) * (yy + s) - xy * xy;
        const inverse = [(yy + s) / determinant, -xy / determinant, (xx + s) / determinant];
        const [a, b, c] = inverse;
        const gain = [xx * a + xy * b, xx * b + xy * c, xy * a + yy * b, xy * b + yy * c];
        at.set([...means[k], ...inverse, ...gain, logWeights[k] - 0.5 * Math.log(determinant)], k * 10);
      }
      const found = new Float64Array(x.length);
      const logits = new Float64Array(count);
      for (let i = 0; i < x.length; i += 2) {
        let largest = -Infinity;
        for (let k = 0, o = 0; k < count; k += 1, o += 10) {
          const u = x[i] - at[o];
          const v = x[i + 1] - at[o + 1];
          logits[k] = at[o + 9] - 0.5 * (at[o + 2] * u * u + 2 * at[o + 3] * u * v + at[o + 4] * v * v);
          if (logits[k] > largest) largest = logits[k];
        }
        let total = 0;
        let left = 0;
        let up = 0;
        for (let k = 0, o = 0; k < count; k += 1, o += 10) {
          const w = Math.exp(logits[k] - largest);
          if (w === 0) continue;
          const u = x[i] - at[o];
          const v = x[i + 1] - at[o + 1];
          total += w;
          left += w * (at[o] + at[o + 5] * u + at[o + 6] * v);
          up += w * (at[o + 1] + at[o + 7] * u + at[o + 8] * v);
        }
        found[i] = left / total;
        found[i + 1] = up / total;
      }
      return found;
    };
  }

  /** Uniform on boxes [x0, y0, x1, y1] of equal density: products of truncated Gaussians (dmdlab/laws/truncated.py). */
  function ofBoxes({ boxes }) {
    const intervals = (low, high) => [...new Map(boxes.map((b) => [`${b[low]} ${b[high]}`, [b[low], b[high]]])).values()];
    const across = intervals(0, 2);
    const along = intervals(1, 3);
    const place = boxes.map((b) => [
      across.findIndex(([a, z]) => a === b[0] && z === b[2]),
      along.findIndex(([a, z]) => a === b[1] && z === b[3]),
    ]);
    return (x, sigma) => {
      const found = new Float64Array(x.length);
      for (let i = 0; i < x.length; i += 2) {
        const columns = across.map(([low, high]) => truncatedMoments(x[i], sigma, low, high));
        const rows = along.map(([low, high]) => truncatedMoments(x[i + 1], sigma, low, high));
        const logs = place.map(([c, r]) => columns[c][0] + rows[r][0]);
        const largest = Math.max(...logs);
        let total = 0;
        place.forEach(([c, r], k) => {
          const w = Math.exp(logs[k] - largest);
          total += w;
          found[i] += w * columns[c][1];
          found[i + 1] += w * rows[r][1];
        });
        found[i] /= total;
        found[i + 1] /= total;
      }
      return found;
    };
  }

  const NODES = [0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363];
  const WEIGHTS = [0.362683783378362, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763];

  /** [log P, E[u]] of u ~ N(x, sigma^2) cut to [low, high]; the three formulas of dmdlab/laws/truncated.py. */
  function truncatedMoments(x, sigma, low, high) {
    const signed = ((low + high) / 2 - x) / sigma;
    const side = signed < 0 ? -1 : 1;
    const m = Math.abs(signed);
    const h = (high - low) / (2 * sigma);
    const [a, b, skew] = [m - h, m + h, m * h];
    const constant = -0.5 * Math.log(2 * Math.PI);
    if (h <= 0.5 && skew <= 0.5) {
      let mass = 0;
      let first = 0;
      NODES.forEach((node, i) => {
        const bell = WEIGHTS[i] * Math.exp(-0.5 * (h * node) ** 2);
        mass += bell * Math.cosh(skew * node);
        first -= bell * node * Math.sinh(skew * node);
      });
      return [Math.log(2 * h * mass) - 0.5 * m * m + constant, x + side * sigma * (m + (h * first) / mass)];
    }
    const gap = -Math.expm1(-2 * skew);
    if (a > 0) {
      const z = mills(a) - (1 - gap) * mills(b);
      return [Math.log(z) - 0.5 * a * a + constant, x + (side * sigma * gap) / z];
    }
    const z = 0.5 * (numerics.erf(b / Math.SQRT2) - numerics.erf(a / Math.SQRT2));
    const phi = Math.exp(-0.5 * a * a + constant);
    return [Math.log(z), x + (side * sigma * phi * gap) / z];
  }

  function mills(a) {
    return Math.sqrt(Math.PI / 2) * numerics.erfcx(a / Math.SQRT2);
  }

  /** Uniform on a circle about 0, thickened: dmdlab/laws/sphere.py, Eq. (3) at d = 2. */
  function ofCircle({ radius, thickness }) {
    return (x, sigma) => {
      const v = thickness * thickness + sigma * sigma;
      const share = (thickness * thickness) / v;
      const found = new Float64Array(x.length);
      for (let i = 0; i < x.length; i += 2) {
        const norm = Math.hypot(x[i], x[i + 1]);
        const gain = norm > 0 ? (radius * numerics.besselRatio((radius * norm) / v)) / norm : 0;
        for (let j = i; j < i + 2; j += 1) found[j] = x[j] * (gain + share * (1 - gain));
      }
      return found;
    };
  }

  Object.assign(numerics, { exactDenoiser, truncatedMoments });
})((globalThis.dmdlab ??= {}));
