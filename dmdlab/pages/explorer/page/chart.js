"use strict";
/* Charts in SVG, drawn at the width they have: letters keep their size, and a printer gets sharp lines. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** @param options `title`, `label` for who does not see it, `height` in pixels, `spec()` -> what to draw (see `draw`). */
  function create(options) {
    const { el, svg, oncePerFrame } = page.dom;
    const picture = svg("svg", { class: "chart", role: "img", "aria-label": options.label });
    const node = el(
      "div",
      { class: "chart-box" },
      el("p", { class: "title" }, ...[options.title ?? []].flat()),
      picture,
    );
    const soon = oncePerFrame(() => {
      const width = picture.clientWidth || node.clientWidth;
      if (width > 0) draw(picture, width, options.height ?? 190, options.spec());
    });
    new ResizeObserver(soon).observe(node);
    return { node, picture, redraw: soon };
  }

  /**
   * Fills an SVG. spec: `x`, `y` axes {low, high, scale, label, ticks, format}; `lines` [{points, class}];
   * `dots` [{x, y, class, hollow, big, name}]; `ranges` [{x, low, high, class}]; `bars` [{x0, x1, y, class}];
   * `guides` [{y, name, end}]; `cursor` an x.
   */
  function draw(picture, width, height, spec) {
    const { svg, put } = page.dom;
    const { share, ticks } = page.axis;
    const inside = {
      left: spec.y.hidden ? 10 : 46,
      right: width - 14,
      top: 10,
      bottom: height - (spec.x.label ? 40 : 24),
    };
    const x = (value) => inside.left + (inside.right - inside.left) * share(spec.x, value);
    const y = (value) => inside.bottom - (inside.bottom - inside.top) * clamp(share(spec.y, value));
    const parts = [];
    for (const value of ticks(spec.x, Math.max(3, Math.floor(width / 70))))
      parts.push(
        svg("line", { class: "tick", x1: x(value), x2: x(value), y1: inside.bottom, y2: inside.bottom + 4 }),
        svg("text", {
          class: "faint",
          x: x(value),
          y: inside.bottom + 17,
          "text-anchor": "middle",
          text: (spec.x.format ?? page.words.number)(value),
        }),
      );
    if (!spec.y.hidden)
      for (const value of ticks(spec.y, Math.max(3, Math.floor(height / 40))))
        parts.push(
          svg("line", { class: "grid", x1: inside.left, x2: inside.right, y1: y(value), y2: y(value) }),
          svg("text", {
            class: "faint",
            x: inside.left - 6,
            y: y(value) + 4,
            "text-anchor": "end",
            text: (spec.y.format ?? page.words.number)(value),
          }),
        );
    parts.push(svg("line", { class: "axis", x1: inside.left, x2: inside.right, y1: inside.bottom, y2: inside.bottom }));
    if (spec.x.label)
      parts.push(
        svg("text", {
          class: "faint",
          x: (inside.left + inside.right) / 2,
          y: height - 5,
          "text-anchor": "middle",
          text: spec.x.label,
        }),
      );
    for (const bar of spec.bars ?? [])
      parts.push(
        svg("rect", {
          class: `bar ${bar.class}`,
          x: x(bar.x0),
          width: Math.max(0.5, x(bar.x1) - x(bar.x0) - 0.5),
          y: y(bar.y),
          height: Math.max(0, inside.bottom - y(bar.y)),
        }),
      );
    for (const guide of spec.guides ?? [])
      parts.push(
        svg("line", { class: "guide", x1: inside.left, x2: inside.right, y1: y(guide.y), y2: y(guide.y) }),
        svg("text", {
          class: "faint halo",
          x: guide.end ? inside.right : inside.left + 5,
          y: y(guide.y) - 4,
          "text-anchor": guide.end ? "end" : "start",
          text: guide.name ?? "",
        }),
      );
    for (const range of spec.ranges ?? []) {
      for (const end of [range.low, range.high])
        parts.push(
          svg("line", {
            class: `range ${range.class}`,
            x1: x(range.x) - 7,
            x2: x(range.x) + 7,
            y1: y(end),
            y2: y(end),
          }),
        );
      parts.push(
        svg("line", {
          class: `range ${range.class}`,
          x1: x(range.x),
          x2: x(range.x),
          y1: y(range.low),
          y2: y(range.high),
        }),
      );
    }
    for (const line of spec.lines ?? []) {
      const known = line.points.filter(
        ([a, b]) => a !== null && b !== null && Number.isFinite(a) && Number.isFinite(b),
      );
      const d = known.map(([a, b], i) => `${i === 0 ? "M" : "L"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
      parts.push(svg("path", { class: `line ${line.class}`, d }));
    }
    if (spec.cursor !== undefined && spec.cursor !== null)
      parts.push(
        svg("line", { class: "cursor", x1: x(spec.cursor), x2: x(spec.cursor), y1: inside.top, y2: inside.bottom }),
      );
    for (const dot of spec.dots ?? []) {
      if (dot.y === null || !Number.isFinite(dot.y)) continue;
      parts.push(
        svg("circle", {
          class: `dot ${dot.class} ${dot.hollow ? "hollow" : ""}`,
          cx: x(dot.x),
          cy: y(dot.y),
          r: dot.big ? 6.5 : 4,
        }),
      );
      if (dot.name)
        parts.push(
          svg("text", {
            class: "halo value",
            x: x(dot.x),
            y: y(dot.y) + (y(dot.y) < inside.top + 18 ? 20 : -11),
            "text-anchor": anchor(x(dot.x), inside),
            text: dot.name,
          }),
        );
    }
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", String(height));
    put(picture, parts);
  }

  const clamp = (value) => Math.min(1.02, Math.max(-0.02, value));

  const anchor = (px, inside) => (px > inside.right - 40 ? "end" : px < inside.left + 30 ? "start" : "middle");

  page.chart = { create, draw };
})((globalThis.dmdlab ??= {}));
