"use strict";
/* A ruler: a value between its floor and its ceiling, never by itself. The same picture as in the measurement report. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** One ruler that can be drawn anew: {node, draw(spec)}. */
  function create(key, name) {
    const { el, svg, put } = page.dom;
    const picture = svg("svg", { class: "ruler", role: "img" });
    const node = el(
      "div",
      { class: "measure", "data-metric": key },
      el("span", { class: "name", text: name }),
      picture,
    );

    let last = null;
    let drawnAt = 0;
    new ResizeObserver(() => last !== null && Math.abs(picture.clientWidth - drawnAt) > 1 && draw(last)).observe(
      picture,
    );

    /** spec: `value`, `told` (its words), `low`, `high` (95 %), `floor`, `ceiling`, `marks` [[place, words]], `scale`, `band` [low, high], `reason`. */
    function draw(spec) {
      last = spec;
      const wide = (drawnAt = picture.clientWidth || 440);
      picture.setAttribute("viewBox", `0 0 ${wide} 62`);
      const known = spec.value !== null && Number.isFinite(spec.value);
      const marks = spec.marks.filter(([place]) => place !== null && Number.isFinite(place));
      node.dataset.value = known ? String(spec.value) : "";
      node.dataset.floor = spec.floor ?? "";
      node.dataset.ceiling = spec.ceiling ?? "";
      const said = marks.map(([, words]) => words).join(", ");
      picture.setAttribute(
        "aria-label",
        `${name}: ${known ? (spec.told ?? page.words.number(spec.value)) : `unresolved, ${spec.reason ?? "not measured"}`}; ${said}`,
      );
      const ends = page.axis.ends([...marks.map(([place]) => place), known ? spec.value : null, ...(spec.band ?? [])]);
      if (ends === null)
        return put(picture, svg("text", { class: "missing", x: 48, y: 35, text: spec.reason ?? "not measured here" }));
      const axis = { scale: spec.scale ?? "linear", low: ends[0], high: ends[1] };
      const x = (value) => 48 + (wide - 96) * Math.min(1, Math.max(0, page.axis.share(axis, value)));
      const parts = [svg("line", { class: "axis", x1: 36, x2: wide - 36, y1: 30, y2: 30 })];
      if (spec.band)
        parts.unshift(
          svg("rect", {
            class: "band",
            x: x(spec.band[0]),
            width: x(spec.band[1]) - x(spec.band[0]),
            y: 22,
            height: 16,
          }),
        );
      const order = marks.map(([place, words]) => ({ at: x(place), words })).sort((one, other) => one.at - other.at);
      order.forEach(({ at, words }, i) => {
        const side = order.length === 1 ? "middle" : i === 0 ? "start" : "end";
        const shift = side === "start" ? -44 : side === "end" ? 44 : 0;
        parts.push(
          svg("line", { class: "axis", x1: at, x2: at, y1: 22, y2: 38 }),
          svg("text", {
            class: "faint",
            x: Math.min(wide, Math.max(0, at + shift)),
            y: 54,
            "text-anchor": side,
            text: words,
          }),
        );
      });
      if (known) {
        if (spec.low !== null && spec.high !== null && spec.low !== undefined && spec.high !== undefined)
          parts.push(svg("line", { class: "interval", x1: x(spec.low), x2: x(spec.high), y1: 30, y2: 30 }));
        parts.push(
          svg("circle", { class: "value", cx: x(spec.value), cy: 30, r: 6 }),
          svg("text", {
            x: x(spec.value),
            y: 15,
            "text-anchor": "middle",
            "font-weight": 600,
            text: spec.told ?? page.words.number(spec.value),
          }),
        );
      } else
        parts.push(
          svg("text", {
            class: "missing",
            x: wide / 2,
            y: 18,
            "text-anchor": "middle",
            text: spec.reason ?? "unresolved",
          }),
        );
      return put(picture, parts);
    }

    return { node, draw };
  }

  /** A metric of a run on its ruler: what chance reads and what a copy reads are always there. */
  function ofMetric(ruler, metric, glossary, band = null) {
    if (!metric) return ruler.draw({ value: null, marks: [], reason: "not measured in this run" });
    const marks = [];
    if (metric.copy !== null && metric.copy !== undefined)
      marks.push([metric.copy, `${page.words.number(metric.copy)}: a copy`]);
    if (metric.chance !== null && metric.chance !== undefined)
      marks.push([metric.chance, `${page.words.number(metric.chance)}: no memory`]);
    if (metric.law !== undefined) marks.push([metric.law, `${metric.law}: the teacher's law`]);
    // an angle ends at 90 degrees, which stand for all beyond
    const told = glossary?.highest === 90 && metric.value >= 90 ? "90 or more" : undefined;
    return ruler.draw({ ...metric, marks, scale: glossary?.scale, band, told });
  }

  page.ruler = { create, ofMetric };
})((globalThis.dmdlab ??= {}));
