"use strict";
// The measures of a pairing of teacher outputs P and student outputs G at the same noise (dmdlab/pairing/metrics.py).
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const COLLAPSED_VARIANCE_RATIO = 0.01;
  const ROUNDING = 1e-28;

  function centred(points, d) {
    const n = points.length / d;
    const mean = new Float64Array(d);
    points.forEach((value, i) => (mean[i % d] += value / n));
    return points.map((value, i) => value - mean[i % d]);
  }

  function dot(a, b) {
    let sum = 0;
    for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
    return sum;
  }

  /** |G_i - P_i| of each row. */
  function displacement(P, G, d = 2) {
    const found = new Float64Array(P.length / d);
    for (let i = 0; i < P.length; i += 1) found[Math.floor(i / d)] += (P[i] - G[i]) ** 2;
    return found.map(Math.sqrt);
  }

  /** Share, in percent, of `values` that are at most `value`. */
  function percentile(value, values) {
    let count = 0;
    for (const other of values) count += other <= value;
    return (100 * count) / values.length;
  }

  /** The quantile q in [0, 1] of some numbers, linearly interpolated as numpy's. */
  function quantile(values, q) {
    const sorted = Float64Array.from(values).sort();
    const place = q * (sorted.length - 1);
    const low = Math.floor(place);
    const high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (place - low) * (sorted[high] - sorted[low]);
  }

  function pairCosine(P, G, d = 2) {
    const [p, g] = [centred(P, d), centred(G, d)];
    const [spreadP, spreadG] = [dot(p, p), dot(g, g)];
    if (spreadP <= ROUNDING * dot(P, P) || spreadG <= ROUNDING * dot(G, G)) return null; // constant
    return Math.min(1, Math.max(-1, dot(p, g) / Math.sqrt(spreadP * spreadG)));
  }

  /** Share of other teacher outputs that are farther from G_i than its own; ties count half. */
  function pairAuc(P, G, d = 2) {
    const n = P.length / d;
    const cost = numerics.squaredDistances(P, G, d);
    let won = 0;
    for (let i = 0; i < n; i += 1) {
      const own = cost[i * n + i];
      for (let j = 0; j < n; j += 1) {
        if (j !== i) won += cost[i * n + j] > own ? 1 : cost[i * n + j] === own ? 0.5 : 0;
      }
    }
    return n > 1 ? won / (n * (n - 1)) : null;
  }

  /** What needs no assignment; a number is null where these points do not resolve it. */
  function quick(P, G, d = 2) {
    const n = P.length / d;
    const [p, g] = [centred(P, d), centred(G, d)];
    const [spreadP, spreadG] = [dot(p, p), dot(g, g)];
    let paired = 0;
    for (let i = 0; i < P.length; i += 1) paired += (P[i] - G[i]) ** 2;
    const sums = [P, G].map((points) => {
      const sum = new Float64Array(d);
      points.forEach((value, i) => (sum[i % d] += value));
      return sum;
    });
    const all = n * (dot(P, P) + dot(G, G)) - 2 * dot(sums[0], sums[1]);
    return {
      e_dt: paired / n,
      e_independent: n > 1 ? (all - paired) / (n * (n - 1)) : null,
      pair_cosine: pairCosine(P, G, d),
      pair_auc: pairAuc(P, G, d),
      r2: spreadP > 0 ? 1 - paired / spreadP : null,
      variance_ratio: spreadP > 0 ? spreadG / spreadP : null,
    };
  }

  /** All measures that outputs at the same noise give. A student that does not vary has no delta_e: any pairing of it is
   * as good as any other (null, as the lab says "unresolved"). */
  function measure(P, G, d = 2) {
    const known = quick(P, G, d);
    const { columns, cost } = numerics.assign(P, G, d);
    const inPlace = columns.reduce((count, j, i) => count + (i === j), 0) / columns.length;
    const { e_dt: paired, e_independent: independent } = known;
    const found = { ...known, e_ot: cost, delta_e: null, copy_index: null, identity_fraction: null };
    found.delta_e_ceiling = cost > 0 && independent !== null ? independent / cost - 1 : null;
    if (known.variance_ratio === null || known.variance_ratio < COLLAPSED_VARIANCE_RATIO) return found;
    found.delta_e = cost > 0 ? paired / cost - 1 : paired > 0 ? null : 0;
    found.copy_index = independent > cost ? (independent - paired) / (independent - cost) : null;
    found.identity_fraction = inPlace;
    return found;
  }

  Object.assign(numerics, { displacement, percentile, quantile, pairCosine, pairAuc, quick, measure });
})((globalThis.dmdlab ??= {}));
