"use strict";
/* The two score fields and their difference, the DMD arrow, on the plane at a chosen noise level. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const CELLS = 15;

  /** Places of a square grid, n x 2. */
  function places({ centre, half }, cells = CELLS) {
    const found = new Float64Array(2 * cells * cells);
    for (let i = 0; i < cells; i++)
      for (let j = 0; j < cells; j++) {
        found[2 * (i * cells + j)] = centre[0] + half * ((2 * j + 1) / cells - 1);
        found[2 * (i * cells + j) + 1] = centre[1] + half * ((2 * i + 1) / cells - 1);
      }
    return found;
  }

  /** By how much arrows are drawn longer, so that nearly the longest fills a cell; a round number. */
  function stretch(steps, cell) {
    const sizes = [];
    for (let i = 0; i < steps.length; i += 2) sizes.push(Math.hypot(steps[i], steps[i + 1]));
    sizes.sort((a, b) => a - b);
    const long = sizes[Math.floor(0.95 * (sizes.length - 1))];
    if (!(long > 0)) return 1;
    const wanted = (0.95 * cell) / long;
    const power = 10 ** Math.floor(Math.log10(wanted));
    return [5, 2, 1].map((factor) => factor * power).find((factor) => factor <= wanted) ?? power;
  }

  const meanLength = (steps) => {
    let sum = 0;
    for (let i = 0; i < steps.length; i += 2) sum += Math.hypot(steps[i], steps[i + 1]);
    return (2 * sum) / steps.length;
  };

  function start(model, store) {
    const { words, theme } = page;
    /** Moments at which a run's fake score travels. */
    const told = (one) => [...(model.maps(one)?.moments.keys() ?? [])].filter((k) => model.maps(one).hasFake(k));
    const chosen = () => model.run(store.get("run"));
    const candidates = model.living.filter((one) => told(one).length > 0);
    const run = () => (candidates.includes(chosen()) ? chosen() : candidates[0]);
    if (candidates.length === 0) {
      const figure = page.figure.create("fields", { panels: [], controls: [] });
      figure.say(
        "None of the runs in this file keeps its fake score, so there are no fields to show (measure.keep in the experiment).",
        true,
      );
      return;
    }
    const last = () => told(run()).length - 1;
    const moment = () => told(run())[Math.min(store.get("when"), last())];
    const updates = (k) => model.maps(run()).moments[k];

    let known = { key: "", field: null };
    function field() {
      const key = `${run().id} ${moment()} ${store.get("sigma")} ${store.get("draw")}`;
      if (known.key === key) return known.field;
      const [maps, sigma, points] = [model.maps(run()), store.get("sigma"), model.points(run())];
      const base = model.extent(run());
      const extent = { centre: base.centre, half: base.half + 1.2 * sigma };
      const at = places(extent);
      const fake = (x, level) => maps.fake(x, level, moment());
      const times = (array, by) => Float64Array.from(array, (value) => value * by);
      const steps = {
        teacher: times(dmdlab.numerics.score(maps.denoise, at, sigma), sigma ** 2),
        fake: times(dmdlab.numerics.score(fake, at, sigma), sigma ** 2),
        arrow: times(dmdlab.numerics.dmdArrow(maps.denoise, fake, at, sigma), sigma ** 2),
      };
      const noise = dmdlab.numerics.generator(store.get("draw")).normals(points.noise.length);
      const samples = maps.student(points.noise, moment()).map((value, i) => value + sigma * noise[i]);
      const cell = (2 * extent.half) / CELLS;
      const both = stretch([...steps.teacher, ...steps.fake], cell);
      const longer = { teacher: both, fake: both, arrow: stretch(steps.arrow, cell) };
      known = { key, field: { extent, at, steps, samples, longer } };
      return known.field;
    }

    const NAMES = {
      teacher: [["teacher", "Teacher"], ": towards the data"],
      fake: [["student", "Fake score"], ": towards the student's"],
      arrow: ["Their difference: the DMD arrow"],
    };
    const colour = { teacher: "teacher", fake: "student", arrow: "ink" };
    const planes = Object.keys(NAMES).map((which) => {
      const plane = page.plane.create({
        title: page.dom.sentence(...NAMES[which]),
        label: `${which === "arrow" ? "The difference of both fields" : `The ${which} score's field`} on the plane, over the student's noised samples`,
        extent: () => field().extent,
        paint(pen) {
          const { at, steps, samples, longer } = field();
          pen.dots(samples, theme.colour("pale"), 2);
          const own = longer[which];
          for (let i = 0; i < at.length; i += 2)
            pen.arrow(at[i], at[i + 1], own * steps[which][i], own * steps[which][i + 1], theme.colour(colour[which]));
        },
      });
      return plane;
    });

    const { sigma_min, sigma_max } = run().noise;
    const bend = {
      to: (sigma) => (1000 * Math.log(sigma / sigma_min)) / Math.log(sigma_max / sigma_min),
      from: (place) => Number((sigma_min * (sigma_max / sigma_min) ** (place / 1000)).toPrecision(3)),
    };
    const { slider } = page.controls;
    const scrub = slider(store, {
      name: "moment",
      key: "when",
      label: "Moment of training of the fields",
      low: 0,
      high: last(),
      step: 1,
      to: (k) => Math.min(k, last()),
      shown: () => `${updates(moment())} updates`,
      also: ["run"],
    });
    const figure = page.figure.create("fields", {
      layout: "three level",
      panels: planes.map((plane) => plane.node),
      controls: [
        slider(store, { name: "sigma", key: "sigma", label: "Noise level sigma", low: 0, high: 1000, step: 1, ...bend })
          .node,
        scrub.node,
      ],
      rows() {
        const { at, steps } = field();
        return Array.from({ length: at.length / 2 }, (_, i) => ({
          x: at[2 * i],
          y: at[2 * i + 1],
          ...page.save.place("teacher", steps.teacher, i),
          ...page.save.place("fake", steps.fake, i),
          ...page.save.place("arrow", steps.arrow, i),
          sigma: store.get("sigma"),
        }));
      },
    });

    store.follow(["run", "when", "sigma", "draw"], () => {
      scrub.input.max = String(last());
      for (const plane of planes) plane.repaint();
      const { steps, longer } = field();
      const [teacher, arrow] = [meanLength(steps.teacher), meanLength(steps.arrow)];
      Object.assign(figure.readout.dataset, {
        teacher: String(teacher),
        arrow: String(arrow),
        sigma: String(store.get("sigma")),
      });
      figure.say(
        `${run() === chosen() ? "" : `The chosen run keeps no fake score; this is “${run().label}”. `}At noise level ${words.number(store.get("sigma"))}, after ${updates(moment())} updates: arrows of the difference are ${words.percent(arrow / teacher)} as long as the teacher's own, on average over the grid. (An arrow is sigma^2 times a score: the way to the place that it points to. Lengths are drawn times ${words.number(longer.teacher)}, those of the difference times ${words.number(longer.arrow)}.)`,
      );
    });
    store.follow(["run", "sigma"], () => {
      const maps = model.maps(run());
      const [points, sigma] = [model.points(run()), store.get("sigma")];
      const [early, late] = [told(run())[Math.min(1, last())], told(run())[last()]];
      const of = (k) =>
        meanLength(
          Float64Array.from(
            dmdlab.numerics.dmdArrow(maps.denoise, (x, level) => maps.fake(x, level, k), points.teacher, sigma),
            (v) => v * sigma ** 2,
          ),
        );
      figure.find(
        `At noise level ${words.number(sigma)}, on the teacher's own samples, the arrow is `,
        ["student", words.number(of(early))],
        ` long on average after ${updates(early)} updates`,
        ...(early === late ? [] : [" and ", ["student", words.number(of(late))], ` after ${updates(late)}`]),
        ". No arrow asks which noise a sample came from.",
      );
    });
  }

  page.fields = { start, places, stretch, meanLength };
})((globalThis.dmdlab ??= {}));
