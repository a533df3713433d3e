"use strict";
/* What the page can show: the runs by their settings, the rules of its address, and what scenes ask for again and again. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Short names of settings in the address. */
  const SHORT = {
    "student.init": "init",
    "noise.sigma_max": "smax",
    "student.learning_rate": "rate",
    "law.dim": "dim",
    seed: "seed",
  };
  const CONTROLS = [
    "run",
    "seed",
    "draw",
    "tour",
    "export",
    "predict",
    "tool",
    "grid",
    "pins",
    "moment",
    "play",
    "sigma",
    "cause",
    "dim",
    "theta",
    "guess",
    "circle",
    "glossary",
    "link",
  ];
  const MOST_PINS = 8;

  const stateKey = (setting) => SHORT[setting] ?? setting;

  function open(payload) {
    const scene = dmdlab.numerics.open(payload);
    const runs = payload.runs;
    const axes = payload.axes.filter((axis) => axis.values.length > 1);
    const axis = (key) => axes.find((one) => one.key === key) ?? null;
    const causes = axes.filter((one) => one.key !== "law.dim" && one.key !== "seed");
    causes.sort((a, b) => Number(b.key === "student.init") - Number(a.key === "student.init"));
    const opening = runs.find((run) => run.id === payload.opening) ?? runs[0];
    const living = runs.filter((run) => scene.maps(run.id) !== null);
    /** The student of the first figures: one that runs here, the opening one where it can. */
    const first = living.includes(opening) || living.length === 0 ? opening : living[0];

    const rowsOf = (run) => payload.pairs[run.pairs].rows;

    /** The run that agrees with `wanted` (setting -> value as text) and otherwise most with `near`; among `some`. Of
     * equals that with as many rows: delta_e and its ceiling hang on them. */
    function nearest(wanted, near, some = runs) {
      let best = null;
      let most = -1;
      for (const run of some) {
        const asked = Object.entries(wanted).filter(
          ([key, value]) => String(run.settings[key]) === String(value),
        ).length;
        const same = Object.keys(near.settings).filter(
          (key) => String(run.settings[key]) === String(near.settings[key]),
        ).length;
        const agree = 1000 * asked + same + (rowsOf(run) === rowsOf(near) ? 0.5 : 0);
        if (agree > most) [best, most] = [run, agree];
      }
      return best;
    }

    /** For each value of a setting the run that otherwise agrees most with `base`, in the order of values. */
    function along(key, base) {
      const values = axis(key)?.values ?? [base.settings[key]];
      const found = values.map((value) => nearest({ [key]: value }, base)).filter((run) => run !== null);
      return found.filter((run, i) => String(run.settings[key]) === String(values[i]));
    }

    /** The rules of the address, made from what is in this file. */
    function rules() {
      const { whole, real, choice, flag, numbers, names } = page.address;
      const seeds = axis("seed")?.values ?? [];
      const sigmas = first.noise;
      const found = {
        run: choice(
          (living.length > 0 ? living : runs).map((one) => one.id),
          first.id,
        ),
        seed:
          seeds.length > 1 ? choice(seeds, opening.settings.seed) : whole(0, 99999, Number(opening.settings.seed ?? 0)),
        draw: whole(0, 99999, 1),
        z: numbers(2, -4, 4, 1),
        pins: numbers(2, -4, 4, MOST_PINS),
        region: numbers(3, -4, 4, 1),
        tool: choice(["look", "region"], "look"),
        grid: flag(false),
        moment: whole(0, 999, 999),
        sigma: real(sigmas.sigma_min, sigmas.sigma_max, defaultSigma(payload.laws[first.law], sigmas), 4),
        when: whole(0, 999, 1),
        theta: real(0, 180, 45, 1),
        rulers: choice(dims().map(String), dims().at(-1) ?? ""),
        guess: flag(false),
        circle: real(-180, 180, 60, 1),
        dim: choice(dialValues(), dialValues().at(-1) ?? ""),
        question: whole(1, 9, 1),
        tour: whole(0, 10, 0),
        hide: names(CONTROLS),
      };
      for (const one of causes) found[stateKey(one.key)] = choice(one.values, causeDefault().settings[one.key]);
      return found;
    }

    const dialValues = () => (axis("law.dim")?.values ?? [opening.settings["law.dim"]]).map(String);

    /** Dimensions that have a calibration. */
    const dims = () => [...new Set(Object.values(payload.calibrations).map((one) => one.d))].sort((a, b) => a - b);

    /** What the causes open with: a start that ends without the pairing, where there is one. */
    function causeDefault() {
      const rotated = nearest({ "student.init": "rotated" }, opening);
      return String(rotated.settings["student.init"]) === "rotated" ? rotated : opening;
    }

    function calibrationOf(d, near = opening) {
      const own = payload.calibrations[near.calibration];
      if (own && own.d === d) return own;
      const user = runs.find((run) => run.calibration && payload.calibrations[run.calibration].d === d);
      return user
        ? payload.calibrations[user.calibration]
        : (Object.values(payload.calibrations).find((one) => one.d === d) ?? null);
    }

    const extents = new Map();
    const colours = new Map();
    page.theme?.onChange(() => colours.clear());

    return {
      payload,
      scene,
      runs,
      axes,
      axis,
      causes,
      opening,
      first,
      /** Whether the file opens with a law of pictures, which are shown instead of the plane. */
      pictured: Boolean(opening.pictures && payload.pairs[opening.pairs].pictures),
      living,
      nearest,
      along,
      rules,
      dims,
      calibrationOf,
      stateKey,
      MOST_PINS,
      run: (id) => scene.run(id),
      /** Whether a run's loss also asks for its teacher's pairs (terms.regression). */
      asksForPairs: (run) => run.asks_for_pairs,
      calibration: (run) => (run.calibration ? (payload.calibrations[run.calibration] ?? null) : null),
      points: (run) => scene.points(run.id),
      maps: (run) => scene.maps(run.id),
      /** Colours of a run's noise, kept until light becomes dark. */
      colours(run) {
        if (!colours.has(run.id))
          colours.set(run.id, page.theme.ofNoise(scene.points(run.id).noise, run.noise.sigma_max));
        return colours.get(run.id);
      },
      /** A square that holds the teacher's samples of a run. */
      extent(run) {
        const points = scene.points(run.id);
        if (!extents.has(run.id))
          extents.set(run.id, page.plane.extent([points.teacher, points.reference ?? points.teacher]));
        return extents.get(run.id);
      },
      /** pair_cosine in words of degrees, by the run's calibration. */
      angle(run, cosine) {
        const calibration = run.calibration ? payload.calibrations[run.calibration] : null;
        return calibration && cosine !== null ? dmdlab.numerics.angleOf(calibration, cosine) : null;
      },
    };
  }

  /** A level at which the fields are worth a look: half of the data's spread. */
  function defaultSigma(law, noise) {
    const wanted = 0.5 * (law?.sigma_data ?? 1);
    return Math.min(noise.sigma_max, Math.max(noise.sigma_min, Number(wanted.toPrecision(2))));
  }

  page.model = { open, CONTROLS };
})((globalThis.dmdlab ??= {}));
