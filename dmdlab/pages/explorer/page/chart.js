"use strict";
/* Charts in SVG, drawn at the width they have: letters keep their size, and a printer gets sharp lines. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const [LETTER, BOLD] = [8, 9]; // widths of a letter of a chart, rather too many than too few
  const SLOPE = 0.6; // the height of slanted words, as a share of their length

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
    const marked = ticks(spec.x, Math.max(3, Math.floor(width / 70)));
    const told = marked.map(spec.x.format ?? page.words.number);
    const inside = { left: spec.y.hidden ? 10 : 46, right: width - 18, top: 10 };
    const x = (value) => inside.left + (inside.right - inside.left) * share(spec.x, value);
    const slanted = collide(marked.map(x), told);
    const below = slanted ? SLOPE * LETTER * Math.max(...told.map((words) => words.length)) : 0;
    inside.bottom = height - (spec.x.label ? 40 : 24) - below;
    const y = (value) => inside.bottom - (inside.bottom - inside.top) * clamp(share(spec.y, value));
    const places = (line) =>
      line.points
        .filter(([a, b]) => a !== null && b !== null && Number.isFinite(a) && Number.isFinite(b))
        .map(([a, b]) => [x(a), y(b)]);
    const parts = [];
    marked.forEach((value, i) => {
      const [at, line] = [x(value), inside.bottom + 17];
      parts.push(
        svg("line", { class: "tick", x1: at, x2: at, y1: inside.bottom, y2: inside.bottom + 4 }),
        svg("text", {
          class: "faint",
          x: at,
          y: line,
          "text-anchor": slanted ? "end" : "middle",
          transform: slanted ? `rotate(-40 ${at} ${line - 5})` : null,
          text: told[i],
        }),
      );
    });
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
      parts.push(svg("line", { class: "guide", x1: inside.left, x2: inside.right, y1: y(guide.y), y2: y(guide.y) }));
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
      const d = places(line).map(([a, b], i) => `${i === 0 ? "M" : "L"}${a.toFixed(1)} ${b.toFixed(1)}`);
      parts.push(svg("path", { class: `line ${line.class}`, d: d.join("") }));
    }
    if (spec.cursor !== undefined && spec.cursor !== null)
      parts.push(
        svg("line", { class: "cursor", x1: x(spec.cursor), x2: x(spec.cursor), y1: inside.top, y2: inside.bottom }),
      );
    const dots = (spec.dots ?? []).filter((dot) => dot.y !== null && Number.isFinite(dot.y));
    for (const dot of dots)
      parts.push(
        svg("circle", {
          class: `dot ${dot.class} ${dot.hollow ? "hollow" : ""}`,
          cx: x(dot.x),
          cy: y(dot.y),
          r: dot.big ? 6.5 : 4,
        }),
      );
    parts.push(...words(spec, { inside, x, y, dots, places, width }));
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    picture.setAttribute("height", String(height));
    put(picture, parts);
  }

  /** Whether words in the middle of these places would run into each other. */
  const collide = (places, words) =>
    places.some((at, i) => i > 0 && at - places[i - 1] < (LETTER * (words[i].length + words[i - 1].length)) / 2);

  /** The names of guides and dots, over everything and where they hide least. */
  function words(spec, { inside, x, y, dots, places, width }) {
    const { svg } = page.dom;
    const { around, settle, along, HIGH } = page.names;
    const crowd = { dots: [], boxes: [], width, height: inside.bottom };
    for (const line of spec.lines ?? []) crowd.dots.push(...along(places(line)));
    for (const { x: at, low, high } of spec.ranges ?? [])
      crowd.dots.push(...along([low, high].map((end) => [x(at), y(end)])));
    if (Number.isFinite(spec.cursor))
      crowd.dots.push(...along([inside.top, inside.bottom].map((end) => [x(spec.cursor), end])));
    for (const dot of dots) {
      const r = dot.big ? 6.5 : 4;
      crowd.boxes.push({ x: x(dot.x) - r, y: y(dot.y) - r, width: 2 * r, height: 2 * r });
    }
    const written = (name, boxes, kind) => {
      const box = settle(boxes, crowd);
      const { x: left, width: wide, anchor } = box;
      const at = anchor === "end" ? left + wide : anchor === "middle" ? left + wide / 2 : left;
      return svg("text", { class: `halo ${kind}`, x: at, y: box.y + HIGH - 3, "text-anchor": anchor, text: name });
    };
    const guides = (spec.guides ?? []).filter((guide) => guide.name);
    const named = dots.filter((dot) => dot.name);
    return [
      ...guides.map(({ y: at, name, end }) => {
        const wide = LETTER * name.length;
        const ends = [
          { x: inside.right - wide, anchor: "end" },
          { x: inside.left + 5, anchor: "start" },
        ];
        const boxes = (end ? ends : ends.reverse()).flatMap((one) =>
          [y(at) - HIGH - 2, y(at) + 3].map((top) => ({ ...one, y: top, width: wide, height: HIGH })),
        );
        return written(name, boxes, "faint");
      }),
      ...named.map((dot) => written(dot.name, around(x(dot.x), y(dot.y), BOLD * dot.name.length), "value")),
    ];
  }

  const clamp = (value) => Math.min(1.02, Math.max(-0.02, value));

  page.chart = { create, draw };
})((globalThis.dmdlab ??= {}));
