"use strict";
/* Change the cause: the start, the noise's scale, the learning rate, on the same axes. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  function start(model, store) {
    const { words, dom } = page;
    const keys = model.causes.map((axis) => axis.key);
    const base = model.opening;
    const field = (run) =>
      model.runs.filter((one) => String(one.settings["law.dim"]) === String(run.settings["law.dim"]));

    /** The run with these causes that otherwise agrees most with the opening; `first` decides where not all can be had. */
    function chosen() {
      const wanted = Object.fromEntries(keys.map((key) => [key, store.get(model.stateKey(key))]));
      return model.nearest({ ...wanted, ...seedWanted() }, base, field(base));
    }

    const seedWanted = () => (model.axis("seed") ? { seed: store.get("seed") } : {});

    function choose(key, value) {
      const run = model.nearest(
        { [key]: value },
        chosen(),
        field(base).filter((one) => String(one.settings[key]) === value),
      );
      if (run) store.set(Object.fromEntries(keys.map((one) => [model.stateKey(one), String(run.settings[one])])));
    }

    const planes = page.clouds(model, {
      run: chosen,
      titles: { teacher: "Its teacher", student: "The student" },
      labels: {
        teacher: "The teacher's samples for the chosen cause, coloured by their noise",
        student: "The student's samples for the chosen cause, coloured by their noise",
      },
    });
    const ruler = page.ruler.create("pair_cosine", "pair cosine");
    const turn = page.ruler.create("remap_angle", "angle");
    const law = page.ruler.create("fidelity", "law (fidelity)");
    const spread = page.ruler.create("variance_ratio", "law (variance)");
    const map = page.chart.create({
      title: [
        "Calibrated angle of every run here ",
        dom.el("small", { text: "hollow: samples that can be told from the teacher's" }),
      ],
      label: "Every run: its calibrated angle by start, and whether its law is right",
      height: 280,
      spec() {
        const axis = model.causes[0];
        const values = axis ? axis.values.map(String) : [""];
        const dots = field(base)
          .filter((run) => run.metrics.remap_angle?.value !== null && run.metrics.remap_angle !== undefined)
          .map((run) => ({
            x: values.indexOf(axis ? String(run.settings[axis.key]) : ""),
            y: run.metrics.remap_angle.value,
            class: run === chosen() ? "student" : "soft",
            hollow: run.law_agrees === false,
            big: run === chosen(),
            name: run === chosen() ? words.shortDegrees(run.metrics.remap_angle.value) : "",
          }));
        return {
          x: {
            low: -0.5,
            high: values.length - 0.5,
            ticks: values.map((_, i) => i),
            format: (i) => (axis ? axis.words[i] : ""),
            label: axis ? axis.label : "",
          },
          y: { low: -5, high: 97, ticks: [0, 30, 60, 90], format: (v) => `${v}°` },
          guides: [
            { y: 90, name: "nothing left", end: true },
            { y: 0, name: "a copy", end: true },
          ],
          dots: dots.sort((a, b) => Number(a.big) - Number(b.big)),
        };
      },
    });
    const figure = page.figure.create("cause", {
      layout: "three",
      panels: [...planes.map((plane) => plane.node), map.node],
      below: [dom.el("div", { class: "rulers" }, ruler.node, turn.node, law.node, spread.node)],
      controls: model.causes.map(
        (axis) =>
          page.controls.choice(store, {
            name: "cause",
            key: model.stateKey(axis.key),
            label: axis.label,
            values: axis.values.map((value, i) => [value, axis.words[i]]),
            choose: (value) => choose(axis.key, value),
          }).node,
      ),
      rows: () =>
        model.runs.map((run) => ({
          run: run.label,
          ...Object.fromEntries(model.axes.map((axis) => [axis.key, run.settings[axis.key]])),
          ...Object.fromEntries(
            [
              "pair_cosine",
              "remap_angle",
              "delta_e",
              "delta_e_ceiling",
              "copy_index",
              "fidelity",
              "variance_ratio",
            ].map((key) => [key, run.metrics[key]?.value ?? null]),
          ),
          law_agrees: run.law_agrees,
        })),
    });

    /** What a fidelity is read against: the green band of the ruler, where it is known. */
    function exact(run) {
      const [low, high] = model.calibration(run)?.law_null?.fidelity ?? [null, null];
      return low === null || high === null
        ? "1: the teacher's law"
        : `green: ${words.number(low)} to ${words.number(high)}, where 95\u00a0% of students of exactly this law fall`;
    }

    function tell() {
      const run = chosen();
      const { glossary } = model.payload;
      const nulls = model.calibration(run)?.law_null ?? {};
      page.ruler.ofMetric(ruler, run.metrics.pair_cosine, glossary.pair_cosine);
      page.ruler.ofMetric(turn, run.metrics.remap_angle, glossary.remap_angle);
      page.ruler.ofMetric(law, ofLaw(run.metrics.fidelity), glossary.fidelity, nulls.fidelity ?? null);
      page.ruler.ofMetric(
        spread,
        ofLaw(run.metrics.variance_ratio),
        glossary.variance_ratio,
        nulls.variance_ratio ?? null,
      );
      const missed = keys.filter((key) => String(run.settings[key]) !== store.get(model.stateKey(key)));
      const sorry = missed.length > 0 ? "There is no run with just these settings; the nearest is shown. " : "";
      const cosine = run.metrics.pair_cosine?.value ?? null;
      figure.readout.dataset.run = run.id;
      figure.say(
        `${sorry}${run.label}: pair cosine ${words.number(cosine)} (1 a copy, 0 chance), fidelity ${words.number(run.metrics.fidelity?.value)} (${exact(run)}). ` +
          `${page.ofTheLaw(model, run)}${run.teacher_ok === false ? " Its teacher failed its own checks." : ""}`,
      );
    }

    function story() {
      const other = model.nearest({ "student.init": "rotated" }, base, field(base));
      const [a, b] = [base, other].map((run) => run.metrics.pair_cosine?.value ?? null);
      if (String(other.settings["student.init"]) !== "rotated" || other === base) return;
      figure.find(
        "From the teacher the student keeps a pair cosine of ",
        ["student", words.number(a)],
        `; from ${other.pairs === base.pairs ? "the same" : "a"} teacher behind a turned noise, `,
        ["student", words.number(b)],
        `. Their fidelities are ${words.number(base.metrics.fidelity?.value)} and ${words.number(other.metrics.fidelity?.value)} (${exact(base)})${[base, other].some(model.asksForPairs) ? "" : "; nothing in the loss asks for either pairing"}.`,
      );
    }

    store.follow([...keys.map(model.stateKey), "seed"], () => {
      for (const plane of planes) plane.repaint();
      map.redraw();
      tell();
    });
    story();
  }

  /** A measure of the law has a range of its own instead of chance. */
  const ofLaw = (metric) => (metric ? { ...metric, chance: null, copy: null, law: 1 } : metric);

  page.cause = { start };
})((globalThis.dmdlab ??= {}));
