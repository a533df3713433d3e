"use strict";
/* Laws of pictures: rows of first guess, teacher and student at the same noise, and the way between two noises. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** A picture of bytes (channels first) as a canvas. */
  function picture(bytes, [channels, height, width]) {
    const canvas = page.dom.el("canvas", { width, height, role: "presentation" });
    const ctx = canvas.getContext("2d");
    const image = ctx.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[(channels === 3 ? c : 0) * width * height + i];
      image.data[4 * i + 3] = 255;
    }
    ctx.putImageData(image, 0, 0);
    return canvas;
  }

  /** A packed stack (m, c*h*w) as canvases; its bytes are 0 ... 255 from black to white, whatever numbers they stand for. */
  function row(packed, shape) {
    const data = dmdlab.numerics.bytesOf(packed.data);
    const size = shape[0] * shape[1] * shape[2];
    return Array.from({ length: data.length / size }, (_, i) =>
      picture(data.subarray(i * size, (i + 1) * size), shape),
    );
  }

  function strip(title, canvases) {
    const box = page.dom.el(
      "div",
      {
        class: "pictures",
        role: "img",
        "aria-label": `${title.map((part) => (Array.isArray(part) ? part[1] : part)).join("")}: ${canvases.length} pictures`,
      },
      ...canvases,
    );
    box.style.gridTemplateColumns = `repeat(${canvases.length}, minmax(0, 1fr))`;
    return page.dom.el("div", {}, page.dom.el("p", { class: "title" }, ...page.dom.sentence(...title)), box);
  }

  function start(model) {
    const run = [model.opening, ...model.runs].find((one) => one.pictures && model.payload.pairs[one.pairs].pictures);
    document.querySelector("[data-pictures]").hidden = run === undefined;
    if (run === undefined) return;
    const plane = document.getElementById("noise");
    if (model.pictured) plane.before(document.querySelector("[data-pictures]"));
    plane.hidden = model.pictured;
    const shared = model.payload.pairs[run.pairs].pictures;
    const { shape } = shared;
    const panels = [
      strip(["Teacher's first guess, in one step"], row(shared.one_step, shape)),
      strip([["teacher", "Teacher"]], row(shared.teacher, shape)),
      strip([["student", "Student"]], row(run.pictures.student, shape)),
    ];
    const below = run.slice
      ? [
          strip(["Between two noises: ", ["teacher", "teacher"]], row(run.slice.teacher, shape)),
          strip(["and ", ["student", "student"]], row(run.slice.student, shape)),
        ]
      : [];
    const figure = page.figure.create("pictures", { layout: "one", panels: [...panels, ...below], controls: [] });
    figure.say(
      `${run.label}: each column is one noise. Pair cosine ${page.words.number(run.metrics.pair_cosine?.value)}, delta_e ${page.words.ruled(run.metrics.delta_e?.value, run.metrics.delta_e?.ceiling)}.`,
      true,
    );
  }

  page.pictures = { start };
})((globalThis.dmdlab ??= {}));
