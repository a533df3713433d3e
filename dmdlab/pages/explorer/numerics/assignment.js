"use strict";
// The exact assignment of n points to n points at squared distances: shortest augmenting paths, O(n^3).
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** |P_j - G_i|^2 as a flat matrix, a row for each G. */
  function squaredDistances(P, G, d = 2) {
    const n = G.length / d;
    const m = P.length / d;
    const cost = new Float64Array(n * m);
    for (let i = 0; i < n; i += 1) {
      for (let j = 0; j < m; j += 1) {
        let sum = 0;
        for (let k = 0; k < d; k += 1) sum += (P[j * d + k] - G[i * d + k]) ** 2;
        cost[i * m + j] = sum;
      }
    }
    return cost;
  }

  /** The columns that rows of a square cost matrix (n, n) are assigned to at the least total (Jonker and Volgenant's
   * shortest paths with potentials, as in Kuhn's method), Int32Array (n). */
  function assigned(cost, n) {
    const u = new Float64Array(n + 1);
    const v = new Float64Array(n + 1);
    const rowOf = new Int32Array(n + 1); // of each column, from 1; 0: none
    const before = new Int32Array(n + 1);
    const least = new Float64Array(n + 1);
    const seen = new Uint8Array(n + 1);
    for (let i = 1; i <= n; i += 1) {
      rowOf[0] = i;
      least.fill(Infinity);
      seen.fill(0);
      let column = 0;
      do {
        seen[column] = 1;
        const row = rowOf[column];
        const base = (row - 1) * n - 1;
        let nearest = Infinity;
        let next = 0;
        for (let j = 1; j <= n; j += 1) {
          if (seen[j]) continue;
          const slack = cost[base + j] - u[row] - v[j];
          if (slack < least[j]) {
            least[j] = slack;
            before[j] = column;
          }
          if (least[j] < nearest) {
            nearest = least[j];
            next = j;
          }
        }
        for (let j = 0; j <= n; j += 1) {
          if (seen[j]) {
            u[rowOf[j]] += nearest;
            v[j] -= nearest;
          } else {
            least[j] -= nearest;
          }
        }
        column = next;
      } while (rowOf[column] !== 0);
      for (; column !== 0; column = before[column]) rowOf[column] = rowOf[before[column]];
    }
    const columns = new Int32Array(n);
    for (let j = 1; j <= n; j += 1) columns[rowOf[j] - 1] = j - 1;
    return columns;
  }

  /** The best pairing of two clouds of n points: {columns: of each G its P, cost: mean squared distance}. */
  function assign(P, G, d = 2) {
    const n = G.length / d;
    const cost = squaredDistances(P, G, d);
    const columns = assigned(cost, n);
    let total = 0;
    columns.forEach((j, i) => (total += cost[i * n + j]));
    return { columns, cost: total / n };
  }

  Object.assign(numerics, { squaredDistances, assigned, assign });
})((globalThis.dmdlab ??= {}));
