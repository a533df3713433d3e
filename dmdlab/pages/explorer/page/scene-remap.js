"use strict";
/* Plant a remap: turn the teacher's noise by a known angle and watch which metrics see it. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const KEYS = ["pair_cosine", "delta_e", "copy_index", "pair_auc", "recall_at_1", "identity_fraction"];
  const PATIENCE = 30;
  const MOST = 400; // rows of an exact assignment that a reader need not wait for

  /** How far a value has come from chance (0) to a copy (1); null where either is unknown. */
  function share(calibration, key, angle) {
    const [copy, chance] = [calibration.curves[key]?.[0] ?? null, calibration.chance?.[key] ?? null];
    const value = dmdlab.numerics.at(calibration, key, angle);
    return value === null || copy === null || chance === null || copy === chance
      ? null
      : (value - chance) / (copy - chance);
  }

  /** Keys in an order drawn by a seed, for the guessing game. */
  function shuffled(keys, seed) {
    const random = dmdlab.numerics.generator(seed);
    const found = [...keys];
    for (let i = found.length - 1; i > 0; i--) {
      const j = Math.floor(random.uniform() * (i + 1));
      [found[i], found[j]] = [found[j], found[i]];
    }
    return found;
  }

  function start(model, store) {
    const { words, dom } = page;
    const { glossary } = model.payload;
    const run = () =>
      [model.run(store.get("run")), model.first].find((one) => model.maps(one)) ?? null;
    const calibration = () => model.calibrationOf(Number(store.get("rulers")));
    const keys = KEYS.filter((key) =>
      Object.values(model.payload.calibrations).some((one) => one.curves[key]?.some((value) => value !== null)),
    );
    const order = () => (store.get("guess") ? shuffled(keys, store.get("draw")) : keys);

    let turned = { key: "", points: null, took: 0 };
    function pretended() {
      const key = `${run().id} ${store.get("theta")}`;
      if (turned.key !== key) {
        const began = performance.now();
        const points = model
          .maps(run())
          .teacher(dmdlab.numerics.turnNoise(model.points(run()).noise, store.get("theta")));
        turned = { key, points, took: performance.now() - began };
      }
      return turned.points;
    }

    const planes =
      run() === null
        ? []
        : page.clouds(model, {
            run,
            titles: { teacher: "Teacher", student: "Teacher behind turned noise" },
            labels: {
              teacher: "The teacher's samples, coloured by their noise",
              student: "The teacher's samples for the turned noise, coloured by the noise before the turn",
            },
            points: (who) => (who === "teacher" ? model.points(run()).teacher : pretended()),
          });

    const guesses = new Map();
    const boxes = keys.map((_, i) => {
      const [title, meaning] = [dom.el("span"), dom.el("small")];
      const guess = dom.el(
        "select",
        { "aria-label": `Which metric is panel ${letter(i)}?`, onchange: () => guesses.set(order()[i], guess.value) },
        dom.el("option", { value: "", text: "which metric?" }),
        ...keys.map((key) => dom.el("option", { value: key, text: key })),
      );
      const chart = page.chart.create({
        title: [title, " ", meaning],
        label: `Calibration curve ${i + 1}: a metric against the planted angle`,
        height: 170,
        spec: () => spec(order()[i]),
      });
      return { chart, title, meaning, guess, node: dom.el("div", { class: "metric" }, chart.node, guess) };
    });

    function spec(key) {
      const known = calibration();
      const curve = known?.curves[key] ?? [];
      const at = known ? dmdlab.numerics.at(known, key, store.get("theta")) : null;
      const [copy, chance] = [curve[0] ?? null, known?.chance?.[key] ?? null];
      const ends = page.axis.ends([...curve, copy, chance]) ?? [0, 1];
      const margin = 0.08 * (ends[1] - ends[0] || 1);
      const hidden = store.get("guess");
      return {
        x: { low: 0, high: 180, ticks: [0, 90, 180], format: (v) => `${v}°`, label: "turn of the noise" },
        y: {
          low: ends[0] - (glossary[key]?.scale === "zero_log" ? 0 : margin),
          high: ends[1] + margin,
          scale: glossary[key]?.scale ?? "linear",
          hidden,
        },
        guides: [
          copy === null ? null : { y: copy, name: hidden ? "" : "a copy", end: true },
          chance === null ? null : { y: chance, name: hidden ? "" : "no memory", end: true },
        ].filter((guide) => guide !== null),
        lines: [{ points: curve.map((value, i) => [known.angles[i], value]), class: "student" }],
        cursor: store.get("theta"),
        dots: [{ x: store.get("theta"), y: at, class: "student", big: true, name: hidden ? "" : words.number(at) }],
      };
    }

    const { slider, choice, toggle, button } = page.controls;
    const grid = dom.el("div", { class: "metric-grid" }, ...boxes.map((box) => box.node));
    const check = button("guess", "Check the guesses", () => {
      const right = keys.filter((key) => guesses.get(key) === key).length;
      figure.say(
        `${right} of ${keys.length} right. The panels are, in order: ${words.listed(order().map((key, i) => `${letter(i)} ${key}`))}.`,
        true,
      );
      figure.readout.dataset.right = String(right);
    });
    const figure = page.figure.create("remap", {
      layout: planes.length > 0 ? "beside" : "one",
      panels: [
        planes.length > 0 ? dom.el("div", { class: "panels stacked" }, ...planes.map((plane) => plane.node)) : null,
        grid,
      ].filter((node) => node !== null),
      below: [check], // after the lists that it checks, for the keyboard, too
      controls: [
        slider(store, {
          name: "theta",
          key: "theta",
          label: "Turn of the noise",
          low: 0,
          high: 180,
          step: 1,
          shown: (v) => `${v}°`,
        }).node,
        model.dims().length > 0
          ? choice(store, {
              name: "dim",
              key: "rulers",
              label: "Curves in dimension",
              values: model.dims().map((d) => [d, String(d)]),
            }).node
          : null,
        toggle(store, { name: "guess", key: "guess", label: "Guess the metric" }).node,
      ].filter((node) => node !== null),
      rows: () =>
        (calibration()?.angles ?? []).map((angle, i) => ({
          d: calibration().d,
          n: calibration().n,
          angle,
          ...Object.fromEntries(keys.map((key) => [key, calibration().curves[key]?.[i] ?? null])),
        })),
    });

    function tell() {
      if (store.get("guess"))
        return figure.say("Each panel is one metric against the turn. Which is which? Choose under each, then check.");
      const [theta, known] = [store.get("theta"), calibration()];
      let live = "";
      if (run() !== null) {
        const rows = Math.min(MOST, model.points(run()).n);
        const values = dmdlab.numerics.measure(
          model.points(run()).teacher.slice(0, 2 * rows),
          pretended().slice(0, 2 * rows),
        );
        for (const key of ["pair_cosine", "delta_e", "delta_e_ceiling", "copy_index", "pair_auc", "identity_fraction"])
          figure.readout.dataset[key] = String(values[key]);
        live = `In the plane (d = 2), computed here from ${rows} pairs turned one way, where a curve is a mean over several turns: pair cosine ${words.number(values.pair_cosine)}, delta_e ${words.ruled(values.delta_e, values.delta_e_ceiling)}. `;
      }
      const told = known ? keys.map((key) => [key, share(known, key, theta)]).filter(([, way]) => way !== null) : [];
      const fooled = told.filter(([, way]) => way > 0.95).map(([key]) => key);
      const gone = told.filter(([, way]) => way < 0.05).map(([key]) => key);
      const said = known
        ? `At d = ${known.d}, ${theta}°: ${fooled.length > 0 ? `${words.listed(fooled)} read${fooled.length > 1 ? "" : "s"} as good as a copy` : "no metric reads as good as a copy"}${gone.length > 0 ? `; ${words.listed(gone)} as chance` : ""}.`
        : "No calibration travels with these runs.";
      return figure.say(live + said);
    }

    let mode = "";
    const slow = dom.afterQuiet(() => {
      for (const plane of planes) plane.repaint();
      tell();
    }, 90);
    store.follow(["theta", "rulers", "guess", "draw", "run"], () => {
      const now = `${store.get("guess")} ${store.get("draw")}`;
      if (now !== mode) {
        mode = now;
        guesses.clear();
        for (const box of boxes) box.guess.value = "";
      }
      boxes.forEach((box, i) => {
        const key = order()[i];
        dom.say(box.title, store.get("guess") ? `Panel ${letter(i)}` : key);
        dom.say(box.meaning, store.get("guess") ? "" : words.meaning(glossary[key]));
        box.guess.hidden = !store.get("guess");
        box.chart.redraw();
      });
      check.hidden = !store.get("guess");
      if (turned.took < PATIENCE) for (const plane of planes) plane.repaint();
      slow();
    });

    const far = model.calibrationOf(model.dims().at(-1));
    if (far) {
      const ways = ["recall_at_1", "identity_fraction", "copy_index", "pair_cosine"]
        .map((key) => [key, share(far, key, 45)])
        .filter(([, way]) => way !== null);
      figure.find(
        `Turn the noise by 45° in ${far.d} dimensions. On the way from chance (0 %) to a copy (100 %), `,
        ["student", words.listed(ways.map(([key, way]) => `${key} stands at ${near(way)}`))],
        ".",
      );
    }
  }

  /** A share of the way in percent; draws of the noise make less than half a percent, on either side of chance. */
  const near = (way) => (Math.abs(way) < 0.005 ? "about 0 %" : page.words.percent(way));

  const letter = (i) => "ABCDEFGH"[i];

  page.remap = { start, share, shuffled };
})((globalThis.dmdlab ??= {}));
