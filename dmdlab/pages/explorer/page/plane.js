"use strict";
/* A square piece of a plane on a canvas: sharp on every screen, painted once a frame at most and only when in sight. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const TURN = 2 * Math.PI;
  /** Letters on a plane; larger for a printer, whose planes are smaller than those they are painted on. */
  const font = () => `600 ${page.theme.isPrinted() ? 20 : 15}px system-ui, sans-serif`;

  /** Pixels of a plane: from values to places and back. */
  function frame(size, centre, half) {
    const unit = size / (2 * half);
    return {
      size,
      unit,
      x: (value) => size / 2 + (value - centre[0]) * unit,
      y: (value) => size / 2 - (value - centre[1]) * unit,
      back: (px, py) => [centre[0] + (px - size / 2) / unit, centre[1] - (py - size / 2) / unit],
    };
  }

  /** Centre and half width of a square that holds all but the outermost share of these points (n x 2 each). */
  function extent(arrays, share = 0.005, margin = 1.15) {
    const xs = [];
    const ys = [];
    for (const points of arrays)
      for (let i = 0; i < points.length; i += 2) {
        if (Number.isFinite(points[i])) xs.push(points[i]);
        if (Number.isFinite(points[i + 1])) ys.push(points[i + 1]);
      }
    const ends = (values) => {
      values.sort((a, b) => a - b);
      const at = (q) => values[Math.min(values.length - 1, Math.max(0, Math.round(q * (values.length - 1))))];
      return values.length > 0 ? [at(share), at(1 - share)] : [-1, 1];
    };
    const [x0, x1] = ends(xs);
    const [y0, y1] = ends(ys);
    const half = (margin * Math.max(x1 - x0, y1 - y0)) / 2;
    return { centre: [(x0 + x1) / 2, (y0 + y1) / 2], half: half > 0 ? half : 1 };
  }

  /**
   * @param options `title` above; `label` for who does not see it; `paint(pen)`; `extent()` -> {centre, half};
   *   `keys`: whether it takes the keyboard.
   */
  function create(options) {
    const canvas = page.dom.el("canvas", { "aria-label": options.label, role: options.keys ? "application" : "img" });
    if (options.keys) {
      canvas.tabIndex = 0;
      canvas.setAttribute("aria-roledescription", "plane");
    }
    const title = page.dom.el("p", { class: "title" }, ...[options.title ?? []].flat());
    const node = page.dom.el("div", { class: "plane" }, title, canvas);
    let here = frame(1, [0, 0], 1);
    const kept = { key: null, canvas: null };
    let seen = true;
    let stale = true;

    function paintNow() {
      const size = canvas.clientWidth;
      if (size === 0) return;
      const scale = Math.min(3, globalThis.devicePixelRatio || 1);
      const pixels = Math.round(size * scale);
      if (canvas.width !== pixels || canvas.height !== pixels) canvas.width = canvas.height = pixels;
      const ctx = canvas.getContext("2d");
      ctx.setTransform(scale, 0, 0, scale, 0, 0);
      ctx.clearRect(0, 0, size, size);
      const { centre, half } = options.extent();
      here = frame(size, centre, half);
      const crowd = { dots: [], boxes: [], width: size, height: size, names: [] };
      const drawing = pen(ctx, here, kept, crowd);
      options.paint(drawing);
      drawing.writeNames();
      stale = false;
    }

    const soon = page.dom.oncePerFrame(() => (seen ? paintNow() : (stale = true)));
    new ResizeObserver(soon).observe(canvas);
    new IntersectionObserver(
      ([entry]) => {
        seen = entry.isIntersecting;
        if (seen && stale) soon();
      },
      { rootMargin: "300px" },
    ).observe(canvas);
    page.theme.onChange((now) => (now ? paintNow() : soon()));
    return {
      node,
      canvas,
      repaint: soon,
      /** The place of a pointer's event, in the plane's own values. */
      at(event) {
        const box = canvas.getBoundingClientRect();
        return here.back(event.clientX - box.left, event.clientY - box.top);
      },
    };
  }

  /** What a paint function draws with: places are values of the plane. */
  function pen(ctx, here, kept, crowd) {
    return {
      ctx,
      ...here,
      /** Points (n x 2), each in its colour or all in one. */
      dots(points, colours, radius = 2.4, alpha = 1) {
        ctx.globalAlpha = alpha;
        const one = typeof colours === "string";
        if (one) ctx.fillStyle = colours;
        for (let i = 0; 2 * i < points.length; i++) {
          if (!one) ctx.fillStyle = colours[i];
          const [x, y] = [here.x(points[2 * i]), here.y(points[2 * i + 1])];
          ctx.beginPath();
          ctx.arc(x, y, radius, 0, TURN);
          ctx.fill();
          crowd.dots.push(x, y);
        }
        ctx.globalAlpha = 1;
      },
      /** What stays while other things move over it: painted anew only for another key, size or light. */
      layer(key, paint) {
        const canvas = ctx.canvas;
        const whole = `${key} ${canvas.width} ${page.theme.isDark()}`;
        if (kept.key !== whole) {
          kept.canvas ??= document.createElement("canvas");
          kept.canvas.width = kept.canvas.height = canvas.width;
          const under = kept.canvas.getContext("2d");
          under.setTransform(ctx.getTransform());
          kept.crowd = { dots: [], boxes: [], names: [] };
          paint(pen(under, here, {}, kept.crowd));
          kept.key = whole;
        }
        for (const value of kept.crowd.dots) crowd.dots.push(value);
        ctx.drawImage(kept.canvas, 0, 0, here.size, here.size);
      },
      /** A line through points (n x 2). */
      line(points, colour, width = 1.5, dash = [], closed = false, fill = null) {
        ctx.beginPath();
        for (let i = 0; i < points.length; i += 2) ctx.lineTo(here.x(points[i]), here.y(points[i + 1]));
        if (closed) ctx.closePath();
        if (fill !== null) {
          ctx.globalAlpha = 0.22;
          ctx.fillStyle = fill;
          ctx.fill();
          ctx.globalAlpha = 1;
        }
        ctx.setLineDash(dash);
        ctx.lineWidth = width;
        ctx.strokeStyle = colour;
        ctx.stroke();
        ctx.setLineDash([]);
      },
      /** A mark that stands out of the points: 'dot' or 'square', with a name that is written over all. */
      mark(x, y, colour, shape = "dot", name = "") {
        const [px, py, r] = [here.x(x), here.y(y), 6.5];
        ctx.beginPath();
        if (shape === "square") ctx.rect(px - r + 1, py - r + 1, 2 * r - 2, 2 * r - 2);
        else ctx.arc(px, py, r, 0, TURN);
        ctx.fillStyle = colour;
        ctx.lineWidth = 2.5;
        ctx.strokeStyle = page.theme.colour("paper");
        ctx.stroke();
        ctx.fill();
        ctx.lineWidth = 1;
        ctx.strokeStyle = page.theme.colour("ink");
        ctx.stroke();
        crowd.boxes.push({ x: px - r, y: py - r, width: 2 * r, height: 2 * r });
        const seen = px > 0 && py > 0 && px < here.size && py < here.size;
        if (name !== "" && seen) crowd.names.push({ px, py, name });
      },
      /** The names of all marks, each beside its own, where it hides least. */
      writeNames() {
        ctx.font = font();
        for (const { px, py, name } of crowd.names) {
          const around = page.names.around(px, py, ctx.measureText(name).width);
          const box = page.names.settle(around, crowd);
          this.text(name, box.x, box.y + page.names.HIGH - 2);
        }
      },
      text(words, px, py) {
        ctx.font = font();
        ctx.textAlign = "left";
        ctx.lineJoin = "round";
        ctx.lineWidth = 4;
        ctx.strokeStyle = page.theme.colour("paper");
        ctx.strokeText(words, px, py);
        ctx.fillStyle = page.theme.colour("ink");
        ctx.fillText(words, px, py);
      },
      /** An arrow from a place along a step, in values of the plane. */
      arrow(x, y, dx, dy, colour, width = 1.4) {
        const [x0, y0, x1, y1] = [here.x(x), here.y(y), here.x(x + dx), here.y(y + dy)];
        const long = Math.hypot(x1 - x0, y1 - y0);
        if (!(long > 0.5)) return;
        const [ux, uy, head] = [(x1 - x0) / long, (y1 - y0) / long, Math.min(6, 0.45 * long)];
        ctx.strokeStyle = ctx.fillStyle = colour;
        ctx.lineWidth = width;
        ctx.beginPath();
        ctx.moveTo(x0, y0);
        ctx.lineTo(x1 - 0.6 * head * ux, y1 - 0.6 * head * uy);
        ctx.stroke();
        ctx.beginPath();
        ctx.moveTo(x1, y1);
        ctx.lineTo(x1 - head * ux - 0.55 * head * uy, y1 - head * uy + 0.55 * head * ux);
        ctx.lineTo(x1 - head * ux + 0.55 * head * uy, y1 - head * uy - 0.55 * head * ux);
        ctx.fill();
      },
    };
  }

  page.plane = { create, extent, frame };
})((globalThis.dmdlab ??= {}));
