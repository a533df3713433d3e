"use strict";
// Does this browser compute what PyTorch computed? A run's own rows, made by PyTorch, are made again here.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const SHARE = 0.99;
  const MATCHES = 0.02;

  /** Distances of rows (n * 2) in units of `spread`: {quantile, error, largest, rows}. */
  function apart(found, expected, spread) {
    const distances = numerics.displacement(expected, found).map((value) => value / spread);
    const worst = distances.some(Number.isNaN);
    return {
      quantile: SHARE,
      error: worst ? Infinity : numerics.quantile(distances, SHARE),
      largest: worst ? Infinity : Math.max(...distances),
      rows: distances.length,
    };
  }

  /** How far this run's maps are from PyTorch's own answers: {teacher, one_step, student, fake, ok, words}, each number
   * in units of the law's spread (sigma_data); null for what does not travel. */
  function agreement(scene, id) {
    const [run, maps] = [scene.run(id), scene.maps(id)];
    const why = run.why_no_network ?? "its networks do not travel";
    if (!maps) return { teacher: null, one_step: null, student: null, fake: null, ok: null, words: `Nothing runs here: ${why}.` };
    const known = scene.points(id);
    const spread = scene.payload.laws[run.law].sigma_data;
    const fakes = (maps.hasFake() ? run.checks.fake : []).map(({ sigma, x, answer }) => {
      const [points, expected] = [numerics.decode(x).data, numerics.decode(answer).data];
      return apart(maps.fake(points, sigma), expected, spread);
    });
    const worst = (name) => Math.max(...fakes.map((own) => own[name]));
    const found = {
      teacher: apart(maps.teacher(known.noise), known.teacher, spread),
      one_step: apart(maps.oneStep(known.noise), known.oneStep, spread),
      student: apart(maps.student(known.noise), known.student, spread),
      fake: fakes.length
        ? {
            quantile: SHARE,
            error: worst("error"),
            largest: worst("largest"),
            rows: fakes.reduce((sum, own) => sum + own.rows, 0),
          }
        : null,
    };
    const parts = Object.values(found).filter(Boolean);
    const ok = parts.every(({ error }) => error <= MATCHES);
    const told = (own) => (Number.isFinite(own.error) ? own.error.toPrecision(2) : "no number");
    const words =
      `${100 * SHARE} % of ${found.teacher.rows} points computed here lie within ${told(found.teacher)} (teacher) and ` +
      `${told(found.student)} (student) of PyTorch's${found.fake ? `, the fake score's within ${told(found.fake)}` : ""}, ` +
      `in units of the law's spread${ok ? "." : `: more than ${MATCHES}, so this page does not match.`}`;
    return { ...found, ok, words };
  }

  Object.assign(numerics, { agreement });
})((globalThis.dmdlab ??= {}));
