"use strict";
/* A figure of a scene: panels, a read-out that is spoken, controls, and what can be saved of it. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /**
   * Fills the place that the document keeps for a figure.
   * @param name of the scene. @param options `panels` nodes, `layout` class of their grid, `below` nodes, `controls` nodes,
   *   `rows()` -> rows for CSV.
   * @returns {node, say(text), find(parts)}: `say` sets the read-out, `find` the finding beside the figure.
   */
  function create(name, options) {
    const { el, put, sentence } = page.dom;
    const place = document.querySelector(`[data-figure="${name}"]`);
    const readout = el("p", { class: "readout", role: "status", "aria-live": "polite" });
    const picture = el(
      "div",
      { class: "picture" },
      el("div", { class: `panels ${options.layout ?? "two"}` }, ...options.panels),
      ...(options.below ?? []),
      readout,
    );
    const saving = el(
      "div",
      { class: "saving", "data-control": "export" },
      page.controls.button("export", "Save as PNG", () => page.save.picture(picture, `dmdlab-${name}`), {
        "aria-label": `Save as PNG: the figure ${name}`,
      }),
      options.rows
        ? page.controls.button("export", "Numbers as CSV", () => page.save.table(options.rows(), `dmdlab-${name}`), {
            "aria-label": `Numbers as CSV, of the figure ${name}`,
          })
        : null,
    );
    const controls = options.controls ?? [];
    put(place, controls.length > 0 ? el("div", { class: "controls" }, ...controls) : null, picture, saving);
    const finding = document.querySelector(`[data-finding="${name}"]`);
    const { unbroken } = page.words;
    const spoken = (text) => page.dom.say(readout, unbroken(text));
    const kept = (part) => (Array.isArray(part) ? [part[0], unbroken(part[1])] : unbroken(part));
    const quiet = page.dom.afterQuiet(spoken, 120);
    return {
      node: place,
      readout,
      say: (text, now = false) => (now ? spoken(text) : quiet(text)),
      find: (...parts) => finding && put(finding, ...sentence(...parts.map(kept))),
    };
  }

  page.figure = { create };
})((globalThis.dmdlab ??= {}));
