"use strict";
/* The glossary, from the program's own table of measures, and what is known of how this page was made. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  function glossary(model) {
    const { el } = page.dom;
    const { number } = page.words;
    const place = document.querySelector("[data-glossary]");
    for (const [key, metric] of Object.entries(model.payload.glossary)) {
      const best = metric.best === null || metric.best === undefined ? "" : `; a copy: ${number(metric.best)}`;
      place.append(
        el(
          "div",
          { id: `word-${key}` },
          el("dt", { text: key }),
          el("dd", { text: metric.reads_as }),
          el("dd", { class: "soft", text: metric.definition }),
          el("dd", { class: "soft", text: `${range(metric)}; chance: ${metric.chance}${best}` }),
        ),
      );
    }
  }

  /** The values that a metric can take. */
  function range({ lowest, highest }) {
    const { number } = page.words;
    if (lowest === null) return highest === null ? "any number" : `up to ${number(highest)}`;
    return highest === null ? `from ${number(lowest)} up` : `from ${number(lowest)} to ${number(highest)}`;
  }

  function about(model, store) {
    const { el, put } = page.dom;
    const { made, left_out: leftOut } = model.payload;
    const place = document.querySelector("[data-about]");
    const { listed } = page.words;
    const sizes = [...new Set(model.runs.map((run) => model.payload.pairs[run.pairs].rows))];
    const seeds = new Set(model.runs.map((run) => run.settings.seed)).size;
    const students = model.runs.length === 1 ? "one student" : `${model.runs.length} students`;
    const agreement = el("p", { "data-agreement": "", text: "Comparing this browser with PyTorch ..." });
    put(
      place,
      el("p", {
        text:
          `This file holds ${students} of ${seeds === 1 ? "one seed" : `${seeds} seeds`}. ` +
          "They are examples: another seed, or another law, may end otherwise.",
      }),
      el("p", {
        text:
          `Laws are compared on ${listed(sizes.map(String))} samples each. A difference too small for so many, or of a ` +
          "kind that no measure here looks for, may still be there.",
      }),
      agreement,
      leftOut.length > 0 ? el("p", { text: "Left out of this file:" }) : null,
      leftOut.length > 0 ? el("ul", {}, ...leftOut.map((words) => el("li", { text: words }))) : null,
      el("p", {
        class: "soft",
        text: `Page made by dmdlab ${made.version} on ${made.date}; its first run${made.commit ? ` by commit ${made.commit.slice(0, 12)}` : ""} on ${made.hardware ?? "unknown hardware"}.`,
      }),
      made.command ? el("p", {}, el("code", { text: made.command })) : null,
      el("p", { class: "soft", text: "This file loads nothing from the network and sends nothing." }),
    );
    const check = () => {
      const run = model.run(store.get("run"));
      const found = dmdlab.numerics.agreement(model.scene, run.id);
      agreement.textContent = `“${run.label}”: ${found.words}`;
      agreement.dataset.ok = String(found.ok);
    };
    setTimeout(() => store.follow(["run"], check), 1200);
  }

  page.about = { glossary, about };
})((globalThis.dmdlab ??= {}));
