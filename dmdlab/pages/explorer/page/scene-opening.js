"use strict";
/* The opening: scrolling carries noise to samples, by the teacher step by step and by the student at once. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** The beat that is read, from the beats' middles on the screen: 0 the first, 0.5 half way to the second. */
  function progress(middles, height) {
    const eye = 0.6 * height;
    if (middles.length === 0 || eye <= middles[0]) return 0;
    for (let i = 1; i < middles.length; i++)
      if (eye < middles[i]) return i - 1 + (eye - middles[i - 1]) / (middles[i] - middles[i - 1]);
    return middles.length - 1;
  }

  /** What is shown at a beat: 0 noise, 1 the teacher has arrived, 2 the student, 3 the end. The first beat shows the end
   * and is wound back on the way to the second. */
  const shownAt = (beat) => (beat < 1 ? 3 * (1 - beat) : beat - 1);

  const ramp = (value, from, to) => Math.min(1, Math.max(0, (value - from) / (to - from)));

  /** How far a picture of noise level sigma is shrunk, so that noise and samples fill the same square. */
  const shrink = (sigma, spread) => spread / Math.hypot(spread, sigma);

  /** Points between two states of a path (arrays of n x 2), each shrunk by its level; `where` in 0 ... 1. */
  function between(states, grid, spread, where) {
    const at = where * (states.length - 1);
    const k = Math.min(states.length - 2, Math.floor(at));
    const part = at - k;
    const [a, b] = [shrink(grid[k], spread) * (1 - part), shrink(grid[k + 1], spread) * part];
    return states[k].map((value, i) => a * value + b * states[k + 1][i]);
  }

  function start(model, store) {
    const { words } = page;
    const story = document.querySelector("[data-story]");
    const beats = [...story.querySelectorAll(".beat")];
    let shown = 3;
    let drawn = null;

    function facts() {
      const run = model.run(store.get("run"));
      if (drawn?.run !== run) {
        const points = model.points(run);
        const maps = model.maps(run);
        const sigma = run.noise.sigma_max;
        drawn = {
          run,
          spread: model.payload.laws[run.law].sigma_data || 1,
          states: maps ? maps.path(points.noise) : [points.noise, points.teacher],
          grid: maps ? maps.grid : [sigma, 0],
          leap: [points.noise, points.student],
          leapGrid: [sigma, 0],
        };
      }
      return drawn;
    }

    const planes = page.clouds(model, {
      run: () => facts().run,
      titles: { teacher: "Teacher: many small steps", student: "Student: one step" },
      labels: {
        teacher: "The teacher's samples, coloured by their noise",
        student: "The student's samples, coloured by their noise",
      },
      points(who) {
        const { spread, states, grid, leap, leapGrid } = facts();
        return who === "teacher"
          ? between(states, grid, spread, ramp(shown, 0.1, 0.95))
          : between(leap, leapGrid, spread, ramp(shown, 1.25, 1.9));
      },
    });
    const figure = page.figure.create("opening", {
      panels: planes.map((plane) => plane.node),
      rows: () => page.pairsTable(model, model.run(store.get("run"))),
    });

    function follow() {
      const rects = beats.map((beat) => beat.getBoundingClientRect());
      const middles = rects.map((box) => box.top + box.height / 2);
      const beat = page.dom.still() ? beats.length - 1 : progress(middles, innerHeight);
      const wanted = shownAt(beat);
      beats.forEach((one, i) => one.classList.toggle("now", i === Math.round(beat)));
      const next = page.dom.still() || Math.abs(wanted - shown) < 0.004 ? wanted : shown + 0.16 * (wanted - shown);
      if (next !== shown) {
        shown = next;
        for (const plane of planes) plane.repaint();
        soon();
      }
    }

    const soon = page.dom.oncePerFrame(follow);
    addEventListener("scroll", soon, { passive: true });
    addEventListener("resize", soon);
    store.follow(["run"], () => {
      const run = model.run(store.get("run"));
      for (const plane of planes) plane.repaint();
      document.querySelector("[data-run]").textContent =
        `Shown first: ${model.payload.laws[run.law].words}; ${run.label}. ${model.points(run).n} of its pairs.` +
        aside(model, run);
      figure.find(...verdict(model, run));
    });
    follow();
  }

  /** Whether it copies, in one sentence with its numbers. */
  function verdict(model, run) {
    const { number, degrees } = page.words;
    const cosine = run.metrics.pair_cosine?.value ?? null;
    const angle = run.metrics.remap_angle;
    if (cosine === null) return ["How much of the pairing is left is not known for this run."];
    const scale = "where 1 is a copy and 0 is chance";
    const end = "What decides how much is what this page is about.";
    const before = `${page.ofTheLaw(model, run)} And the colours? `;
    if (!angle || angle.value === null)
      return [`${before}Its pair cosine is `, ["student", number(cosine)], `, ${scale}. ${end}`];
    return [
      `${before}This student scrambled the noise `,
      ["student", `as much as turning it by ${degrees(angle.value, angle.value >= 90)} would`],
      ` (pair cosine ${number(cosine)}, ${scale}). ${end}`,
    ];
  }

  /** Whether a run's samples are known to be right, as a sentence. Where nothing says how far samples of one law lie
   * apart, limits are a convention, and nobody can say that they are told apart, or not. */
  page.ofTheLaw = function (model, run) {
    const { rows } = model.payload.pairs[run.pairs];
    if (run.law_agrees !== true && run.law_agrees !== false) return "Whether its samples are right is not known.";
    const [near, apart] = run.law_by_convention
      ? ["its law is near the teacher's by convention", "Its law is not near the teacher's by convention."]
      : [
          "no measure of the law tells this student from its teacher",
          "Its samples can still be told from the teacher's.",
        ];
    return run.law_agrees
      ? `With ${rows} samples, ${near}; where the shapes look different, trust your eyes.`
      : apart;
  };

  /** What a run was told beside what the page's story says. */
  function aside(model, run) {
    if (model.asksForPairs(run))
      return " Its loss was told its teacher's pairs, too (terms.regression), which the words below leave aside.";
    return run.settings["student.init"] === "regressed"
      ? " Its start was fitted to its teacher's pairs, which the words below leave aside."
      : "";
  }

  /** A run's pairs as a table. */
  page.pairsTable = function (model, run) {
    const points = model.points(run);
    const apart = dmdlab.numerics.displacement(points.teacher, points.student);
    return Array.from({ length: points.n }, (_, i) => ({
      row: i,
      ...page.save.place("noise", points.noise, i),
      ...page.save.place("teacher", points.teacher, i),
      ...page.save.place("student", points.student, i),
      displacement: apart[i],
      run: run.label,
    }));
  };

  page.opening = { start, progress, shownAt, between, shrink, verdict };
})((globalThis.dmdlab ??= {}));
