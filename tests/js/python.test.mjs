// The explorer's numerics against Python's numbers: the file that DMDLAB_CASES names is made by tests/test_explorer.py.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";

const room = new URL("../../dmdlab/pages/explorer/numerics/", import.meta.url);
for (const name of readdirSync(room).sort()) if (name.endsWith(".js")) await import(new URL(name, room));
await import(new URL("../page/words.js", room));
const { numerics, page } = globalThis.dmdlab;
const path = process.env.DMDLAB_CASES;
const cases = path ? JSON.parse(readFileSync(path, "utf-8")) : null;
const skip = cases ? false : "no file of cases: run by pytest tests/test_explorer.py";

const flat = (rows) => Float64Array.from(rows.flat());

function alike(found, expected, tolerance, what) {
  const values = [...expected].flat();
  assert.equal(found.length, values.length, what);
  found.forEach((value, i) => {
    const allowed = tolerance * Math.max(1, Math.abs(values[i]));
    assert.ok(Math.abs(value - values[i]) <= allowed, `${what}: ${value} at ${i}, Python has ${values[i]}`);
  });
}

test("exact denoisers of every law", { skip }, () => {
  for (const { name, exact, sigma, x, answer } of cases.laws) {
    alike(numerics.exactDenoiser(exact)(flat(x), sigma), answer, 1e-6, `${name} at sigma ${sigma}`);
  }
});

test("networks of every kind", { skip }, () => {
  for (const { spec, weights, sigma, x, answer } of cases.networks) {
    const denoise = numerics.networkDenoiser(spec, Float64Array.from(weights));
    alike(denoise(flat(x), sigma), answer, 2e-5, `${spec.kind} at sigma ${sigma}`);
  }
});

test("measures of a pairing", { skip }, () => {
  for (const { teacher, student, metrics } of cases.pairings) {
    const found = numerics.measure(flat(teacher), flat(student));
    for (const [key, value] of Object.entries(found)) {
      if (metrics[key] === null) assert.equal(value, null, key);
      else alike([value], [metrics[key]], 1e-6, key);
    }
    assert.equal(Object.keys(found).length, 11);
  }
});

test("numbers, shares and angles in words", { skip }, () => {
  for (const [name, said] of Object.entries(cases.words)) {
    assert.ok(said.length > 1000);
    for (const [value, text] of said) assert.equal(page.words[name](Number(value)), text, `${name} of ${value}`);
  }
});

test("grids, flows, angles, colours and the arrow between two scores", { skip }, () => {
  const { grid, flow, angles, colours, arrow } = cases;
  alike(numerics.karrasGrid(grid.steps, grid.noise), grid.levels, 1e-12, "the grid");
  for (const { solver, exact, z, states } of flow) {
    const found = numerics.path(numerics.exactDenoiser(exact), flat(z), numerics.karrasGrid(grid.steps, grid.noise), solver);
    assert.equal(found.length, states.length);
    states.forEach((state, i) => alike(found[i], state, 1e-5, `${solver}, state ${i}`));
  }
  const { calibration, cosines, degrees } = angles;
  cosines.forEach((cosine, i) => {
    const { angle, beyond } = numerics.angleOf(calibration, cosine);
    alike([angle], [degrees[i].value], 2e-3, `the angle of ${cosine}`);
    assert.equal(beyond, degrees[i].beyond);
  });
  colours.points.forEach(([x, y], i) => alike(numerics.noiseColour(x, y, colours.sigma), colours.rgb[i], 0.51, "a colour"));
  const { teacher, fake, noised, sigma, answer } = arrow;
  const [own, other] = [teacher, fake].map((exact) => numerics.exactDenoiser(exact));
  alike(numerics.dmdArrow(own, other, flat(noised), sigma), answer, 1e-5, "the arrow");
  const scores = [own, other].map((denoise) => numerics.score(denoise, flat(noised), sigma));
  alike(scores[0].map((value, i) => value - scores[1][i]), answer, 1e-5, "the scores");
});

test("a payload's runs are what PyTorch made them, whatever start they stand behind", { skip }, () => {
  const scene = numerics.open(cases.payload);
  for (const run of cases.payload.runs) {
    const found = numerics.agreement(scene, run.id);
    if (!run.network) {
      assert.equal(found.ok, null);
      assert.match(found.words, /Nothing runs here: its law has 8 dimensions/);
      continue;
    }
    assert.ok(found.ok, `${run.label}: ${found.words}`);
    assert.ok(found.teacher.error < 1e-4 && found.one_step.error < 1e-5, found.words);
    assert.ok(found.student.error < 5e-3 && found.fake.error < 5e-3 && found.fake.rows > 50, found.words);
    const points = scene.points(run.id);
    const own = numerics.measure(points.teacher, points.student);
    for (const key of ["delta_e", "delta_e_ceiling", "copy_index", "pair_cosine", "pair_auc", "e_ot"]) {
      if (run.metrics[key].value !== null) alike([own[key]], [run.metrics[key].value], 1e-4, key);
    }
  }
});

test("a payload that does not match says so", { skip }, () => {
  const spoilt = structuredClone(cases.payload);
  const run = spoilt.runs.find(({ network }) => network);
  run.level *= 0.5;
  const found = numerics.agreement(numerics.open(spoilt), run.id);
  assert.equal(found.ok, false);
  assert.match(found.words, /does not match/);
  assert.throws(() => numerics.open({ ...spoilt, format: 99 }), /format 99/);
});

test("a run that is not there is said", { skip }, () => {
  const scene = numerics.open(cases.payload);
  assert.throws(() => scene.run("none"), /no run none/);
});
