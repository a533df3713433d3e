// The explorer's numerics by themselves: what can be said of them without Python.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import test from "node:test";

const room = new URL("../../dmdlab/pages/explorer/numerics/", import.meta.url);
for (const name of readdirSync(room).sort()) if (name.endsWith(".js")) await import(new URL(name, room));
const { numerics } = globalThis.dmdlab;

function near(found, expected, tolerance = 1e-12) {
  assert.ok(Math.abs(found - expected) <= tolerance, `${found} is not within ${tolerance} of ${expected}`);
}

/** The least mean cost over all orders, by trying each. */
function bestByTrying(P, G, d) {
  const n = G.length / d;
  const cost = numerics.squaredDistances(P, G, d);
  function least(row, used) {
    if (row === n) return 0;
    let best = Infinity;
    for (let j = 0; j < n; j += 1) {
      if (!(used & (1 << j))) best = Math.min(best, cost[row * n + j] + least(row + 1, used | (1 << j)));
    }
    return best;
  }
  return least(0, 0) / n;
}

test("an assignment costs what the best of all orders does", () => {
  for (const [seed, n, d] of [[1, 1, 2], [2, 2, 2], [3, 6, 2], [4, 7, 3], [5, 6, 1]]) {
    const random = numerics.generator(seed);
    const [P, G] = [random.normals(n * d), random.normals(n * d)];
    const { columns, cost } = numerics.assign(P, G, d);
    near(cost, bestByTrying(P, G, d));
    assert.deepEqual([...columns].sort((a, b) => a - b), [...Array(n).keys()]);
  }
});

test("ties and equal points are assigned, too", () => {
  const same = new Float64Array(20).fill(3);
  assert.equal(numerics.assign(same, same).cost, 0);
  const lattice = Float64Array.from([0, 0, 1, 0, 0, 1, 1, 1]);
  near(numerics.assign(lattice, lattice.slice().reverse()).cost, 0);
});

test("a copy, a constant student and one that is turned read as they should", () => {
  const P = numerics.generator(1).normals(200);
  const copy = numerics.measure(P, P);
  assert.deepEqual([copy.delta_e, copy.copy_index, copy.identity_fraction, copy.pair_auc], [0, 1, 1, 1]);
  near(copy.pair_cosine, 1);
  const constant = numerics.measure(P, P.map(() => 1));
  assert.deepEqual([constant.delta_e, constant.copy_index, constant.pair_cosine], [null, null, null]);
  assert.equal(constant.pair_auc < 0.6 && constant.pair_auc > 0.4, true);
  near(numerics.pairCosine(P, numerics.turnNoise(P, 60)), 0.5);
  near(numerics.pairCosine(P, numerics.turnNoise(P, 180)), -1);
});

test("random numbers are the seed's, and normal", () => {
  assert.deepEqual(numerics.generator(7).normals(5), numerics.generator(7).normals(5));
  assert.notDeepEqual(numerics.generator(7).normals(5), numerics.generator(8).normals(5));
  const drawn = numerics.generator(3).normals(40_000);
  const moment = (k) => drawn.reduce((sum, x) => sum + x ** k, 0) / drawn.length;
  near(moment(1), 0, 0.02);
  near(moment(2), 1, 0.03);
  near(moment(4), 3, 0.2);
});

test("half-precision numbers and offsets are read", () => {
  assert.deepEqual([0x3c00, 0xc000, 0x0001, 0x7bff, 0x8000].map(numerics.half), [1, -2, 2 ** -24, 65504, -0]);
  assert.ok(Number.isNaN(numerics.half(0x7e00)));
  const bytes = Buffer.from(Int16Array.from([1, -2, 3, 4]).buffer).toString("base64");
  const packed = { dtype: "i16", shape: [2, 2], data: bytes, scale: 0.5, offset: [10, 20] };
  assert.deepEqual([...numerics.decode(packed).data], [10.5, 19, 11.5, 22]);
  assert.throws(() => numerics.decode({ ...packed, shape: [3, 2] }), /not as long/);
  assert.throws(() => numerics.decode({ ...packed, dtype: "f64" }), /unknown kind/);
});

test("a turned circle pays no loss though its pairing is lost; one that leaves the circle pays a little", () => {
  const { theta, loss, cost, collapsed } = numerics.circleCurve({ count: 5 });
  assert.deepEqual(theta, [0, 90, 180, 270, 360]);
  for (const value of loss) near(value, 0, 1e-20);
  assert.ok(cost[2] > 3.5 && cost[1] > 1.5 && collapsed > 0.5);
  const beside = numerics.circleCurve({ count: 5, projected: false });
  assert.ok(beside.loss[1] > 1e-3 && beside.loss[1] < 0.03 * collapsed);
  const one = numerics.circle(Math.PI, { count: 50 });
  near(one.cost, cost[2], 0.2);
  for (let i = 0; i < 100; i += 2) near(1.1 * one.student[i] ** 2 + one.student[i + 1] ** 2, 1);
});

test("an angle is read back from the cosine that it gives, and beyond 90 degrees is said", () => {
  const angles = Array.from({ length: 181 }, (_, i) => i / 2);
  const fine = { angles, pair_cosine: angles.map((a) => Math.max(0.1, Math.cos((a * Math.PI) / 180))) };
  near(numerics.angleOf({ fine }, Math.cos(Math.PI / 6)).angle, 30, 1e-6);
  assert.deepEqual(numerics.angleOf({ fine }, -0.2), { angle: 90, beyond: true });
  assert.equal(numerics.angleOf({ fine: null }, 0.5), null);
  assert.equal(numerics.angleOf({ fine }, null), null);
  assert.equal(numerics.angleOf({ fine }, 1.2).angle, 0);
});

test("a percentile counts, a quantile interpolates", () => {
  assert.equal(numerics.percentile(2, [1, 2, 3, 4]), 50);
  assert.equal(numerics.quantile([4, 1, 3, 2], 0.5), 2.5);
});
