"use strict";
/* Turn the dial: the same law in 2 ... 128 dimensions, each value between its floor and its ceiling. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  function start(model, store) {
    const { words, dom, axis } = page;
    const dims = (model.axis("law.dim")?.values ?? [model.opening.settings["law.dim"]]).map(String);

    const wanted = () => (model.axis("seed") ? { seed: store.get("seed") } : {});
    const at = (d) =>
      model.nearest(
        { "law.dim": d, ...wanted() },
        model.opening,
        model.runs.filter((run) => String(run.settings["law.dim"]) === d),
      );
    const run = () => at(store.get("dim"));
    const rows = () => dims.map(at);

    const planes = page.clouds(model, {
      run,
      titles: { teacher: "Teacher", student: "Student" },
      labels: {
        teacher: "The teacher's samples at the chosen dimension, coloured by their noise",
        student: "The student's samples at the chosen dimension, coloured by their noise",
      },
    });
    const strip = page.chart.create({
      title: [
        "delta_e ",
        dom.el("small", {
          text: "bars: from a copy to no memory; hollow: samples that can be told from the teacher's",
        }),
      ],
      label: "delta_e against dimension, each between its floor and its ceiling",
      height: 230,
      spec() {
        const all = rows().map((one) => one.metrics.delta_e ?? {});
        const top = axis.ends(all.flatMap((metric) => [metric.ceiling ?? null, metric.value ?? null]))?.[1] ?? 1;
        return {
          x: {
            low: -0.5,
            high: dims.length - 0.5,
            ticks: dims.map((_, i) => i),
            format: (i) => dims[i],
            label: "dimension d",
          },
          y: { low: 0, high: 1.3 * top, scale: "zero_log" },
          ranges: all.map((metric, i) => ({
            x: i,
            low: metric.floor ?? 0,
            high: metric.ceiling ?? 0,
            class: dims[i] === store.get("dim") ? "" : "faded",
          })),
          dots: all.map((metric, i) => ({
            x: i,
            y: metric.value ?? null,
            class: "student",
            big: dims[i] === store.get("dim"),
            hollow: rows()[i].law_agrees === false,
            name: dims[i] === store.get("dim") ? words.number(metric.value) : "",
          })),
        };
      },
    });
    const histogram = page.chart.create({
      title: [
        "Distance to the teacher ",
        dom.el("small", { text: "height: share of pairs; filled: at the same noise; outline: shuffled" }),
      ],
      label: "Histogram of distances: pairs at the same noise against shuffled pairs",
      height: 280,
      spec() {
        const found = run().distances;
        if (!found) return { x: { low: 0, high: 1 }, y: { low: 0, high: 1, hidden: true } };
        const bars = (counts, name) =>
          counts.map((y, i) => ({
            x0: found.edges[i],
            x1: found.edges[i + 1],
            y: y / counts.reduce((a, b) => a + b, 0),
            class: name,
          }));
        const all = [...bars(found.shuffled, "over"), ...bars(found.paired, "student")];
        return {
          x: { low: found.edges[0], high: found.edges.at(-1), label: "distance" },
          y: { low: 0, high: 1.05 * Math.max(...all.map((bar) => bar.y)), hidden: true },
          bars: [...bars(found.paired, "student"), ...bars(found.shuffled, "over")],
        };
      },
    });
    const rulers = ["delta_e", "copy_index", "pair_cosine", "remap_angle"].map((key) => [
      key,
      page.ruler.create(key, key),
    ]);
    const { slider } = page.controls;
    const dial = slider(store, {
      name: "dim",
      key: "dim",
      label: "Dimension of the data",
      low: 0,
      high: dims.length - 1,
      step: 1,
      to: (d) => dims.indexOf(String(d)),
      from: (i) => dims[i],
      shown: (d) => `d = ${d}`,
    });
    const figure = page.figure.create("dimension", {
      layout: "three",
      panels: [...planes.map((plane) => plane.node), histogram.node],
      below: [
        dom.el(
          "div",
          { class: "panels two stack" },
          strip.node,
          dom.el("div", {}, ...rulers.map(([, ruler]) => ruler.node)),
        ),
      ],
      controls: [dial.node],
      rows: () =>
        rows().map((one, i) => ({
          d: dims[i],
          run: one.label,
          ...Object.fromEntries(
            ["delta_e", "copy_index", "pair_cosine", "remap_angle"].flatMap((key) =>
              ["floor", "value", "ceiling"].map((part) => [`${key}_${part}`, one.metrics[key]?.[part] ?? null]),
            ),
          ),
        })),
    });

    store.follow(["dim", "seed"], () => {
      for (const plane of planes) plane.repaint();
      strip.redraw();
      histogram.redraw();
      const { metrics, label } = run();
      for (const [key, ruler] of rulers) page.ruler.ofMetric(ruler, metrics[key], model.payload.glossary[key]);
      const view = model.payload.pairs[run().pairs].view;
      const seen = view
        ? ` Drawn on ${view.words}; colours are the noise there${view.correlations ? ` (correlations ${words.listed(view.correlations.map(words.number))})` : ""}.`
        : "";
      figure.readout.dataset.run = run().id;
      const { floor, value, ceiling } = metrics.delta_e ?? {};
      const law =
        run().law_agrees === false ? ` ${page.ofTheLaw(model, run())} So it is not yet a statement on copying.` : "";
      figure.say(
        `${label}: delta_e between ${words.number(floor)} (a copy) and ${words.number(ceiling)} (no memory) reads ${words.number(value)}.${law}${seen}`,
      );
    });

    const astray = dims.filter((_, i) => rows()[i].law_agrees === false);
    const [first, end] = [rows()[0], rows().at(-1)];
    if (first !== end && Number.isFinite(first.metrics.delta_e?.value) && Number.isFinite(end.metrics.delta_e?.value)) {
      const angles = rows()
        .map((one) => one.metrics.remap_angle?.value)
        .filter((value) => value !== null && value !== undefined);
      figure.find(
        `From d = ${dims[0]} to ${dims.at(-1)}, delta_e goes from `,
        ["student", words.number(first.metrics.delta_e.value)],
        " to ",
        ["student", words.number(end.metrics.delta_e.value)],
        `. Its ceiling goes from ${words.number(first.metrics.delta_e.ceiling)} to ${words.number(end.metrics.delta_e.ceiling)} by itself.`,
        angles.length > 1
          ? ` The calibrated angle, which means the same in every dimension, reads ${words.listed(angles.map(words.shortDegrees))}.`
          : "",
        astray.length > 0
          ? ` At d = ${words.listed(astray)} the samples lie outside the limits of the teacher's law: read those values with care.`
          : "",
      );
    }
  }

  page.dimension = { start };
})((globalThis.dmdlab ??= {}));
