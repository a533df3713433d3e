"use strict";
/* Scrub training: the student from its start to its end, with its loss and its pairing beside it. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const PACE = { normal: 320, slow: 1300 };

  /** [iteration, value] of one column of a curve, without what was not measured. */
  function column(curve, key) {
    return (curve[key] ?? [])
      .map((value, i) => [curve.iteration[i], value])
      .filter(([, value]) => value !== null && Number.isFinite(value));
  }

  /** What a frame needs of two samples, in time that grows with their rows alone. */
  function alike(P, G) {
    return { pair_cosine: dmdlab.numerics.pairCosine(P, G), variance_ratio: spread(G) / spread(P) };
  }

  /** The sum of squared distances from the mean, (n * 2) -> number. */
  function spread(points) {
    let [x, y, square] = [0, 0, 0];
    for (let i = 0; i < points.length; i += 2) {
      x += points[i];
      y += points[i + 1];
      square += points[i] ** 2 + points[i + 1] ** 2;
    }
    return square - (2 * (x * x + y * y)) / points.length;
  }

  function start(model, store) {
    const { words, theme, axis } = page;
    const outputs = new Map();
    let playing = null;
    let part = 0;

    const run = () => {
      const chosen = model.run(store.get("run"));
      return model.maps(chosen)?.moments.length > 1
        ? chosen
        : (model.living.find((one) => model.maps(one).moments.length > 1) ?? chosen);
    };
    const moments = () => model.maps(run())?.moments ?? [];
    const last = () => Math.max(0, moments().length - 1);
    const moment = () => Math.min(store.get("moment"), last());

    function output(k) {
      const key = `${run().id} ${k}`;
      const maps = model.maps(run());
      if (!maps || maps.moments.length === 0) return model.points(run()).student;
      if (!outputs.has(key)) outputs.set(key, maps.student(model.points(run()).noise, k));
      return outputs.get(key);
    }

    function here() {
      const [from, to] = [output(moment()), output(Math.min(last(), moment() + 1))];
      return part === 0 ? from : from.map((value, i) => value + part * (to[i] - value));
    }

    const plane = page.plane.create({
      title: page.dom.sentence(["student", "Student"], " over the ", ["teacher", "teacher's samples"]),
      label:
        "The student's samples at the chosen moment of training, coloured by their noise, over the teacher's samples in grey",
      extent: () => model.extent(run()),
      paint(pen) {
        pen.dots(model.points(run()).teacher, theme.colour("pale"), 2.2, 0.9);
        pen.dots(here(), model.colours(run()), 2.8, 0.95);
        const at = moments()[moment()];
        if (at !== undefined) pen.text(`update ${at}`, 12, 22);
      },
    });

    const until = () => axis.ends([...(run().curve?.iteration ?? []), ...moments()]) ?? [0, 1];
    const time = () => ({
      low: 0,
      high: until()[1],
      label: "",
      format: (v) => (v >= 1000 ? `${v / 1000}k` : String(v)),
    });
    const cursor = () => {
      if (moments().length === 0) return until()[1];
      const [a, b] = [moments()[moment()] ?? 0, moments()[Math.min(last(), moment() + 1)] ?? 0];
      return a + part * (b - a);
    };
    const loss = page.chart.create({
      title: "Distribution matching loss",
      label: "The loss over training",
      height: 150,
      spec() {
        const points = column(run().curve ?? { iteration: [] }, "dm_loss");
        const range = axis.ends(points.map(([, value]) => value)) ?? [0, 1];
        return {
          x: time(),
          y: { low: Math.min(0, range[0]), high: 1.2 * range[1] || 1, scale: range[1] > 2 ? "zero_log" : "linear" },
          lines: [{ points, class: "soft" }],
          cursor: cursor(),
        };
      },
    });
    const cosine = page.chart.create({
      title: "Pair cosine",
      label: "Pair cosine over training, between chance at 0 and a copy at 1",
      height: 150,
      spec: () => ({
        x: time(),
        y: { low: -0.1, high: 1.08, ticks: [0, 0.5, 1] },
        guides: [
          { y: 1, name: "a copy" },
          { y: 0, name: "chance" },
        ],
        lines: [{ points: column(run().curve ?? { iteration: [] }, "pair_cosine"), class: "student" }],
        cursor: cursor(),
        dots: [
          { x: cursor(), y: live().pair_cosine, class: "student", big: true, name: words.number(live().pair_cosine) },
        ],
      }),
    });
    const angle = page.chart.create({
      title: "Calibrated angle",
      label: "Calibrated angle over training, between a copy at 0 and nothing left at 90 degrees",
      height: 170,
      spec: () => ({
        x: { ...time(), label: "updates" },
        y: { low: -4, high: 96, ticks: [0, 30, 60, 90], format: (v) => `${v}°` },
        guides: [
          { y: 90, name: "nothing left" },
          { y: 0, name: "a copy" },
        ],
        lines: [{ points: column(run().curve ?? { iteration: [] }, "remap_angle"), class: "student" }],
        cursor: cursor(),
        dots: [
          {
            x: cursor(),
            y: live().angle,
            class: "student",
            big: true,
            name: live().angle === null ? "" : words.shortDegrees(live().angle),
          },
        ],
      }),
    });

    let known = { key: "", values: null };
    function live() {
      const key = `${run().id} ${moment()} ${part.toFixed(3)}`;
      if (moments().length === 0) {
        // nothing runs here, and two coordinates of many would tell something else: the record's own numbers
        const value = (name) => run().metrics[name]?.value ?? null;
        return {
          pair_cosine: value("pair_cosine"),
          variance_ratio: value("variance_ratio"),
          angle: value("remap_angle"),
        };
      }
      if (known.key !== key) {
        const values = alike(model.points(run()).teacher, here());
        known = { key, values: { ...values, angle: model.angle(run(), values.pair_cosine)?.angle ?? null } };
      }
      return known.values;
    }

    const touched = () => {
      stop();
      part = 0;
    };
    const { slider, button } = page.controls;
    const scrub = slider(store, {
      name: "moment",
      key: "moment",
      label: "Moment of training",
      low: 0,
      high: last(),
      step: 1,
      touched,
      to: (k) => Math.min(k, last()),
      shown: () => `${words.number(moments()[moment()] ?? null)} updates`,
      also: ["run"],
    });
    const play = button("play", "Play", () => (playing ? stop() : go("normal")), { class: "main" });
    const slow = button("play", "Slowly", () => (playing ? stop() : go("slow")));
    const step = (by) => () => {
      touched();
      store.set({ moment: Math.min(last(), Math.max(0, moment() + by)) });
    };

    function go(pace) {
      if (last() === 0) return;
      if (moment() >= last()) store.set({ moment: 0 });
      const began = { at: performance.now(), from: moment() };
      play.textContent = "Stop";
      const tick = (time) => {
        const where = began.from + Math.max(0, time - began.at) / PACE[pace];
        const k = Math.min(last(), Math.floor(where));
        part = page.dom.still() || k >= last() ? 0 : where - k;
        store.set({ moment: k });
        redraw();
        if (k >= last()) stop();
        else playing = requestAnimationFrame(tick);
      };
      playing = requestAnimationFrame(tick);
    }

    function stop() {
      if (playing !== null) cancelAnimationFrame(playing);
      playing = null;
      part = 0;
      play.textContent = "Play";
      redraw();
    }

    function redraw() {
      plane.repaint();
      for (const chart of [loss, cosine, angle]) chart.redraw();
    }

    const figure = page.figure.create("training", {
      layout: "uneven",
      panels: [plane.node, page.dom.el("div", {}, loss.node, cosine.node, angle.node)],
      controls: [
        scrub.node,
        button("play", "◀", step(-1), { "aria-label": "One moment back" }),
        play,
        slow,
        button("play", "▶", step(1), { "aria-label": "One moment on" }),
      ],
      rows: () =>
        run().curve.iteration.map((iteration, i) => ({
          iteration,
          ...Object.fromEntries(
            ["dm_loss", "score_loss", "variance_ratio", "pair_cosine", "remap_angle"].map((key) => [
              key,
              run().curve[key]?.[i] ?? null,
            ]),
          ),
        })),
    });

    function tell() {
      const at = moments()[moment()];
      if (at === undefined) {
        const why = run().why_no_network ?? "no moments of its training travel in this file";
        figure.say(`Nothing to scrub here: ${why}. Shown is the end: pair cosine ${words.number(live().pair_cosine)}.`);
        return;
      }
      const { pair_cosine, variance_ratio, angle: turn } = live();
      for (const [key, value] of Object.entries({ pair_cosine, variance_ratio, angle: turn, iteration: at }))
        figure.readout.dataset[key] = String(value);
      const other = run() === model.run(store.get("run")) ? "" : `No moments of the chosen run are here; this is “${run().label}”. `;
      const degrees = turn === null ? "" : `, as after a turn of ${words.degrees(turn, turn >= 90)}`;
      const { n, rows } = model.payload.pairs[run().pairs];
      const some = n < rows ? ` (over ${n} of ${rows} pairs)` : "";
      figure.say(
        `${other}After ${at} updates${some}: pair cosine ${words.number(pair_cosine)}${degrees}; the samples spread to ${words.percent(variance_ratio)} of the teacher's variance.`,
      );
    }

    function story() {
      const [first, end] = [
        alike(model.points(run()).teacher, output(0)),
        alike(model.points(run()).teacher, output(last())),
      ];
      if (last() === 0) return;
      figure.find(
        `At first its samples spread to ${words.percent(first.variance_ratio)} of the teacher's variance with pair cosine `,
        ["student", words.number(first.pair_cosine)],
        `; after ${moments().at(-1)} updates to ${words.percent(end.variance_ratio)} with `,
        ["student", words.number(end.pair_cosine)],
        model.asksForPairs(run())
          ? ". Its loss asks for the teacher's pairs, too (terms.regression)."
          : ". The loss never looks at the pairing.",
      );
    }

    store.follow(["run"], () => {
      scrub.input.max = String(last());
      for (const node of figure.node.querySelectorAll(".controls > *")) node.hidden = last() === 0;
      outputs.clear();
      story();
    });
    store.follow(["run", "moment"], () => {
      redraw();
      tell();
    });
    // Who touches nothing sees it once, when it comes into sight.
    if (store.get("moment") >= last() && last() > 0 && !page.dom.still()) {
      const watch = new IntersectionObserver(
        ([entry]) => {
          if (!entry.isIntersecting) return;
          watch.disconnect();
          if (playing === null && moment() === last()) go("normal");
        },
        { threshold: 0.7 },
      );
      watch.observe(plane.canvas);
    }
  }

  page.training = { start, column, alike };
})((globalThis.dmdlab ??= {}));
