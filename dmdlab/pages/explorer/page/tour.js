"use strict";
/* The guided tour: one sentence a step, each with the state of the page that shows it. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  const PLANE = [
    {
      at: "noise",
      say: "Here is one noise with its two destinations: the teacher's, along the blue path, and the student's, at once.",
      set: { grid: false },
    },
    {
      at: "noise",
      say: "The whole plane as a grid: where the two pictures differ, the student has paired anew.",
      set: { grid: true },
    },
  ];
  const PICTURES = [
    { at: "pictures", say: "Every column is one noise: the first guess, the teacher, the student." },
    { at: "pictures", say: "On the way from one noise to another, does the student change what the teacher changes?" },
  ];

  /** Steps {at, say, set}; those whose scene has nothing to show are left out. */
  function steps(model) {
    const [fewest, many] = [model.dims()[0], model.dims().at(-1)];
    return [
      {
        at: "opening",
        say: "Every dot is one draw of noise, coloured by where it lies; scroll, and two machines turn it into samples.",
      },
      { at: "predict", say: "First vote: which noise made the marked sample?", set: { question: 1 } },
      ...(model.pictured ? PICTURES : PLANE),
      scrubs(model) && {
        at: "training",
        say: `The student begins as a blob and is pushed apart; press Play and watch the colours${model.asksForPairs(model.first) ? "" : ", which the loss never sees"}.`,
        set: { moment: 0 },
      },
      fields(model) && {
        at: "fields",
        say: "What pushes is the difference of two fields, and it is blind to which noise a sample came from.",
        set: { when: 1 },
      },
      model.causes.some((axis) => axis.key === "student.init") && page.predict.telling(model) !== null
        ? {
            at: "cause",
            say: "Started behind a turned noise, the same training ends with another pairing: here the start decides, not the loss.",
            set: { init: "rotated" },
          }
        : null,
      dial(model),
      many !== undefined
        ? {
            at: "remap",
            say: `Turn the noise by a known 45° and read off what every metric says in ${many} dimensions, then in ${fewest}.`,
            set: { theta: 45, rulers: String(many), guess: false },
          }
        : null,
      {
        at: "circle",
        say: "At last the paper's own circle: every angle has the same loss, so that loss cannot choose between copying and its opposite.",
        set: { circle: 180 },
      },
    ].filter(Boolean);
  }

  /** Whether a run's training can be scrubbed, and whether a fake score is here. */
  const scrubs = (model) => model.living.some((run) => model.maps(run).moments.length > 1);
  const fields = (model) =>
    model.living.some((run) => model.maps(run).moments.some((_, k) => model.maps(run).hasFake(k)));

  /** The step at the dial: two dimensions, two values, two ceilings; null where there is one dimension only. */
  function dial(model) {
    const { ruled } = page.words;
    const runs = model.along("law.dim", model.opening);
    const [first, last] = [runs[0], runs.at(-1)];
    if (runs.length < 2) return null;
    const read = (run) => {
      const { value, ceiling } = run.metrics.delta_e ?? {};
      return `${ruled(value, ceiling)} in ${run.settings["law.dim"]} dimensions`;
    };
    const say = `delta_e reads ${read(first)}, and ${read(last)}: never take a value without its ruler.`;
    return { at: "dimension", say, set: { dim: String(last.settings["law.dim"]) } };
  }

  function start(model, store) {
    const { dom } = page;
    const bar = document.querySelector("[data-tour]");
    const all = steps(model);
    const text = dom.el("p", { "aria-live": "polite" });
    const go = (by) => () => store.set({ tour: Math.min(all.length, Math.max(1, store.get("tour") + by)) });
    const back = dom.el("button", { type: "button", text: "Back", onclick: go(-1) });
    const next = dom.el("button", {
      type: "button",
      text: "Next",
      onclick: () => (store.get("tour") >= all.length ? store.set({ tour: 0 }) : go(1)()),
    });
    const end = dom.el("button", { type: "button", text: "End the tour", onclick: () => store.set({ tour: 0 }) });
    bar.append(text, back, next, end);
    bar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") store.set({ tour: 0 });
    });
    let shown = 0;
    store.follow(["tour"], () => {
      const k = Math.min(store.get("tour"), all.length);
      if (k === 0 && bar.contains(document.activeElement))
        document.querySelector('button[data-control="tour"]')?.focus({ preventScroll: true });
      bar.hidden = k === 0;
      document.documentElement.toggleAttribute("data-touring", k > 0); // what has the focus stays above the bar
      if (k === 0 || k === shown) return void (shown = k);
      const step = all[k - 1];
      shown = k;
      dom.say(text, `${k} of ${all.length}. ${step.say}`);
      next.textContent = k === all.length ? "Done" : "Next";
      back.disabled = k === 1;
      if (step.set) store.set(step.set);
      page.scrollTo(step.at);
    });
    return { begin: () => (store.set({ tour: 1 }), setTimeout(() => next.focus(), 50)), count: all.length };
  }

  page.tour = { start, steps };
})((globalThis.dmdlab ??= {}));
