"use strict";
/* What is seen as a file: a figure as PNG, its numbers as CSV. Everything is made here and handed to the browser. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const STYLED = [
    "fill",
    "stroke",
    "stroke-width",
    "stroke-dasharray",
    "opacity",
    "font-family",
    "font-size",
    "font-weight",
    "paint-order",
    "stroke-linejoin",
  ];

  /** Rows (objects with the same keys) as CSV. A text that a table program would take for a formula is made harmless. */
  function csv(rows) {
    if (rows.length === 0) return "";
    const keys = Object.keys(rows[0]);
    return (
      [keys, ...rows.map((row) => keys.map((key) => row[key]))].map((cells) => cells.map(cell).join(",")).join("\n") +
      "\n"
    );
  }

  function cell(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "";
    if (typeof value === "number") return String(value);
    const text = /^[=+\-@\t\r]/.test(String(value)) ? `'${value}` : String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** Row i of points (n x 2) as two columns of a table. */
  const place = (name, points, i = 0) => ({ [`${name}_x`]: points[2 * i], [`${name}_y`]: points[2 * i + 1] });

  function hand(blob, name) {
    const link = page.dom.el("a", { href: URL.createObjectURL(blob), download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  /** Hands out rows as a file. */
  function table(rows, name) {
    hand(new Blob([csv(rows)], { type: "text/csv" }), `${name}.csv`);
  }

  /** Hands out a figure: its canvases and charts where they stand, its titles and the page's address below. */
  async function picture(figure, name) {
    const box = figure.getBoundingClientRect();
    const [scale, foot] = [2, 28];
    const canvas = page.dom.el("canvas", {
      width: Math.ceil(box.width * scale),
      height: Math.ceil((box.height + foot) * scale),
    });
    const ctx = canvas.getContext("2d");
    ctx.scale(scale, scale);
    ctx.fillStyle = page.theme.colour("paper");
    ctx.fillRect(0, 0, box.width, box.height + foot);
    for (const node of figure.querySelectorAll("canvas, svg, .title, .name, .readout")) {
      const place = node.getBoundingClientRect();
      if (place.width === 0 || place.height === 0) continue;
      const [x, y] = [place.left - box.left, place.top - box.top];
      if (node instanceof HTMLCanvasElement) ctx.drawImage(node, x, y, place.width, place.height);
      else if (node instanceof SVGElement) ctx.drawImage(await drawn(node, place), x, y, place.width, place.height);
      else text(ctx, node, x, y + 14, place.width);
    }
    ctx.font = "11px system-ui, sans-serif";
    ctx.fillStyle = page.theme.colour("soft");
    ctx.fillText(`dmdlab explorer ${location.hash}`.slice(0, 160), 4, box.height + foot - 8);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    hand(blob, `${name}.png`);
  }

  function text(ctx, node, x, y, width) {
    const style = getComputedStyle(node);
    ctx.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    ctx.fillStyle = style.color;
    let line = "";
    for (const word of node.textContent.split(/\s+/)) {
      if (line !== "" && ctx.measureText(`${line} ${word}`).width > width) {
        ctx.fillText(line, x, y);
        [line, y] = [word, y + 1.35 * parseFloat(style.fontSize)];
      } else line = line === "" ? word : `${line} ${word}`;
    }
    ctx.fillText(line, x, y);
  }

  /** An SVG as an image, with the colours that it has on the page. */
  async function drawn(node, place) {
    const copy = node.cloneNode(true);
    const [from, to] = [
      [node, ...node.querySelectorAll("*")],
      [copy, ...copy.querySelectorAll("*")],
    ];
    from.forEach((source, i) => {
      const style = getComputedStyle(source);
      for (const key of STYLED) to[i].setAttribute(key, style.getPropertyValue(key));
    });
    copy.setAttribute("width", String(place.width));
    copy.setAttribute("height", String(place.height));
    copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
    try {
      const image = new Image();
      image.src = url;
      await image.decode();
      return image;
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  page.save = { csv, place, table, picture };
})((globalThis.dmdlab ??= {}));
