// The page's own parts that need no document: addresses, numbers in words, scales, CSV, the story's places.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import test from "node:test";

const require = createRequire(import.meta.url);
const room = new URL("../../dmdlab/pages/explorer/", import.meta.url).pathname;
for (const folder of ["numerics", "page"])
  for (const name of readdirSync(room + folder).sort()) if (name.endsWith(".js")) require(`${room}${folder}/${name}`);
const { page, numerics } = globalThis.dmdlab;

const { whole, real, choice, flag, numbers, names, read, write } = page.address;
const rules = {
  seed: whole(0, 99, 0),
  theta: real(0, 180, 45, 1),
  init: choice(["teacher", "rotated"], "teacher"),
  grid: flag(),
  pins: numbers(2, -4, 4, 2),
  hide: names(["tour", "dim"]),
};

test("an address comes back as it was written", () => {
  const state = {
    seed: 7,
    theta: 30.5,
    init: "rotated",
    grid: true,
    pins: [
      [1, -0.125],
      [2, 3],
    ],
    hide: ["dim"],
  };
  const text = write(state, rules);
  assert.equal(text, "#seed=7&theta=30.5&init=rotated&grid=1&pins=1,-0.125;2,3&hide=dim");
  assert.deepEqual(read(text, rules), { state, problems: [] });
});

test("an empty address is the defaults, which are not written, but for what always is", () => {
  const { state, problems } = read("", rules);
  assert.deepEqual(problems, []);
  assert.equal(write(state, rules), "");
  assert.equal(write(state, rules, ["seed"]), "#seed=0");
});

test("values out of range are clamped and said", () => {
  const { state, problems } = read("#theta=999&seed=-3&pins=9,0;1,1;2,2", rules);
  assert.deepEqual(
    [state.theta, state.seed, state.pins],
    [
      180,
      0,
      [
        [4, 0],
        [1, 1],
      ],
    ],
  );
  assert.equal(problems.length, 4);
  assert.match(problems[0], /theta = 999 is outside 0 to 180; 180 is shown/);
});

test("what is no value is said and replaced, whatever it holds", () => {
  for (const text of [
    "theta=one",
    "theta=",
    "theta=Infinity",
    "init=<img src=x>",
    "grid=2",
    "pins=1,a",
    "hide=all",
    "other=1",
    "%E0%A4%A=1",
    "__proto__=1",
    "constructor=1",
  ]) {
    const { state, problems } = read(text, rules);
    assert.equal(problems.length, 1, text);
    assert.deepEqual(state, { seed: 0, theta: 45, init: "teacher", grid: false, pins: [], hide: [] }, text);
  }
  assert.ok(read(`theta=${"9".repeat(5000)}`, rules).problems[0].length < 200);
});

test("an axis maps its ends to 0 and 1 and marks round places", () => {
  for (const scale of ["linear", "log", "zero_log"]) {
    const axis = { low: scale === "log" ? 0.01 : 0, high: 100, scale };
    assert.ok(Math.abs(page.axis.share(axis, axis.low)) < 1e-12);
    assert.ok(Math.abs(page.axis.share(axis, 100) - 1) < 1e-12);
    for (const tick of page.axis.ticks(axis, 5)) assert.ok(tick >= axis.low && tick <= 100);
    assert.ok(page.axis.ticks(axis, 5).length <= 6);
  }
  assert.deepEqual(page.axis.ticks({ low: 0, high: 10 }, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(page.axis.ticks({ low: 0, high: 100, scale: "zero_log" }, 9), [0, 0.1, 1, 10, 100]);
  assert.equal(page.axis.ends([null, NaN]), null);
});

test("CSV quotes what must be quoted, and a table program runs nothing of it", () => {
  const text = page.save.csv([
    { a: 1.5, b: 'x, "y"' },
    { a: null, b: "=cmd|' /C calc'!A0" },
    { a: -2, b: "@SUM(1)" },
  ]);
  assert.equal(text, `a,b\n1.5,"x, ""y"""\n,'=cmd|' /C calc'!A0\n-2,'@SUM(1)\n`);
});

test("the story stands at the beat that is read", () => {
  assert.equal(page.opening.progress([700, 1400], 1000), 0);
  assert.equal(page.opening.progress([0, 600, 1200], 1000), 1);
  assert.equal(page.opening.progress([0, 1200], 1000), 0.5);
  assert.equal(page.opening.progress([-900, -100], 1000), 1);
  assert.deepEqual([0, 0.5, 1, 2, 4].map(page.opening.shownAt), [3, 1.5, 0, 1, 3]);
});

test("between two states lie their shrunk means, and the ends are noise and samples", () => {
  const states = [Float64Array.of(80, 0), Float64Array.of(3, 1), Float64Array.of(2, 2)];
  const at = (where) => [...page.opening.between(states, [80, 1, 0], 1, where)];
  assert.ok(Math.abs(at(0)[0] - 1) < 1e-3);
  assert.deepEqual(at(1), [2, 2]);
  const near = page.opening.shrink(1, 1);
  assert.ok(Math.abs(at(0.75)[0] - (0.5 * near * 3 + 0.5 * 2)) < 1e-12);
});

test("the grid's lines lie at equal steps and the rim of a region on its circle", () => {
  const lines = page.noise.gridLines({ reach: 2, step: 1, cut: 4 });
  assert.equal(lines.length, 10);
  assert.deepEqual([...lines[0]], [-2, -2, -2, -1, -2, 0, -2, 1, -2, 2]);
  const rim = page.noise.rim([1, -1, 0.5], 12);
  for (let i = 0; i < rim.length; i += 2) assert.ok(Math.abs(Math.hypot(rim[i] - 1, rim[i + 1] + 1) - 0.5) < 1e-12);
});

test("arrows are stretched by a round number so that they stay inside their cells", () => {
  const steps = Float64Array.from({ length: 200 }, (_, i) => (i % 2 ? 0 : 0.03));
  const by = page.fields.stretch(steps, 1);
  assert.equal(by, 20);
  assert.equal(page.fields.stretch(new Float64Array(8), 1), 1);
  assert.equal(page.fields.meanLength(Float64Array.of(3, 4, 0, 1)), 3);
});

test("a metric's way from chance to a copy, and a guessing order that its seed fixes", () => {
  const calibration = {
    angles: [0, 90],
    curves: { a: [1, 0], b: [0, 8], c: [null, null] },
    chance: { a: 0, b: 8, c: 0 },
  };
  assert.equal(page.remap.share(calibration, "a", 45), 0.5);
  assert.equal(page.remap.share(calibration, "b", 0), 1);
  assert.equal(page.remap.share(calibration, "c", 45), null);
  const keys = ["a", "b", "c", "d", "e"];
  assert.deepEqual(page.remap.shuffled(keys, 3), page.remap.shuffled(keys, 3));
  assert.deepEqual([...page.remap.shuffled(keys, 3)].sort(), keys);
  assert.ok([1, 2, 3, 4].some((seed) => page.remap.shuffled(keys, seed).join() !== keys.join()));
});

test("a square holds all but the outermost points", () => {
  const points = Float64Array.from({ length: 2000 }, (_, i) => (i % 2 ? 0.001 * (i / 2) : 5));
  const { centre, half } = page.plane.extent([points, Float64Array.of(1e6, 1e6)]);
  assert.ok(Math.abs(centre[0] - 5) < 1e-9 && half < 1);
  const { x, y, back } = page.plane.frame(100, [2, 3], 4);
  assert.deepEqual(back(x(1), y(5)), [1, 5]);
});

test("curves are read where they were measured", () => {
  const curve = { iteration: [0, 100, 200], loss: [1, null, 3] };
  assert.deepEqual(page.training.column(curve, "loss"), [
    [0, 1],
    [200, 3],
  ]);
  assert.deepEqual(page.training.column(curve, "none"), []);
});

test("numbers in words, in sentences", () => {
  const { number, degrees, listed, percent } = page.words;
  assert.deepEqual([null, NaN, 0, 1234.6, 0.00001234, 3.14159, -0.5, Infinity].map(number), [
    "–",
    "–",
    "0",
    "1235",
    "1.23e-05",
    "3.14",
    "-0.5",
    "infinite",
  ]);
  assert.deepEqual(
    [degrees(1.2), degrees(30), degrees(95, true), degrees(0.2)],
    ["1 degree", "30 degrees", "90 degrees or more", "less than half a degree"],
  );
  assert.equal(listed(["a", "b", "c"]), "a, b and c");
  assert.equal(percent(0.456), "46 %");
  const [teacher, turned] = [[1, 0, -1, 0, 0, 1, 0, -2], [-1, 0, 1, 0, 0, -2, 0, 1]].map((rows) => Float64Array.from(rows));
  const { delta_e, delta_e_ceiling, e_ot } = numerics.measure(teacher, turned.map((v, i) => v + 0.1 * (i % 3)));
  assert.ok(e_ot > 0 && delta_e > delta_e_ceiling); // no bound, so no sentence says so
  assert.equal(page.words.ruled(9, 6.25), "9 (6.25: no memory)");
  assert.equal(page.words.unbroken("rate 1e-4: 5 % of one-step"), "rate 1e-\u20604: 5\u00a0% of one-step");
  assert.equal(page.words.meaning({ title: "0 = a copy", reads_as: "more" }), "0 = a copy");
  assert.equal(page.words.meaning({ title: "", reads_as: "how often; chance is 1/n" }), "how often");
  assert.ok(numerics.open);
});

test("the question on a turned start is asked of runs that answer it", () => {
  const run = (value) => ({ metrics: { pair_cosine: { value } } });
  const asked = (a, b) => page.predict.tells(run(a), run(b));
  assert.deepEqual([asked(0.9, 0.1), asked(0.9, 0.7), asked(0.2, 0.0), asked(null, 0.1)], [true, false, false, false]);
});

test("the quick measures of a frame are those of the numerics", () => {
  const random = numerics.generator(3);
  const [P, G] = [random.normals(80), random.normals(80).map((value, i) => 0.5 * value + (i % 2))];
  const { pair_cosine, variance_ratio } = numerics.quick(P, G);
  const found = page.training.alike(P, G);
  assert.ok(Math.abs(found.pair_cosine - pair_cosine) < 1e-12);
  assert.ok(Math.abs(found.variance_ratio - variance_ratio) < 1e-12);
});

test("names stand beside their marks, inside, and where they hide least", () => {
  const { around, settle, along } = page.names;
  const place = (x, y, crowd) => settle(around(x, y, 20), { dots: [], boxes: [], width: 100, height: 100, ...crowd });
  const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
  const free = place(50, 50, {});
  assert.ok(free.x > 50 && free.y + free.height < 50); // to the right and above
  for (const [x, y] of [[2, 2], [98, 2], [2, 98], [98, 98]]) {
    const { x: left, y: top, width, height } = place(x, y, {});
    assert.ok(left >= 0 && top >= 0 && left + width <= 100 && top + height <= 100);
  }
  const dots = [60, 38, 62, 36, 40, 38]; // two to the right, one to the left
  assert.ok(place(50, 50, { dots }).x === 40 || place(50, 50, { dots }).y > 50);
  const crowd = { dots: along([[0, 40], [100, 40]]), boxes: [], width: 100, height: 100 };
  const boxes = [45, 50, 55].map((x) => settle(around(x, 50, 20), crowd));
  assert.ok(boxes[0].y > 40, "below the line");
  for (const [i, box] of boxes.entries()) for (const other of boxes.slice(0, i)) assert.ok(!meet(box, other));
});
