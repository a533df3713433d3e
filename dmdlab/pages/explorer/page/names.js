"use strict";
/* Where words go beside a mark: inside the picture, and where they hide least. Pure numbers, in pixels. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const HIGH = 15; // of a line of letters
  const GAP = 8; // from a mark's middle
  const [DOT, BOX, OUT] = [1, 50, 1000]; // what it costs to hide a dot, to meet a mark or other words, to be cut
  // To the right and above first, then around the mark.
  const SIDES = [
    [1, -1],
    [-1, -1],
    [0, -1],
    [1, 1],
    [-1, 1],
    [0, 1],
    [1, 0],
    [-1, 0],
  ];

  /** Boxes {x, y, width, height, anchor} for words of a width around a place, the most wanted first. */
  function around(x, y, width) {
    return SIDES.map(([right, down]) => {
      const [aside, apart] = [down === 0 ? GAP + 3 : GAP, right === 0 ? GAP + 2 : GAP - 2];
      return {
        x: right === 0 ? x - width / 2 : right > 0 ? x + aside : x - aside - width,
        y: down === 0 ? y - HIGH / 2 : down > 0 ? y + apart : y - apart - HIGH,
        width,
        height: HIGH,
        anchor: right === 0 ? "middle" : right > 0 ? "start" : "end",
      };
    });
  }

  const meet = (a, b) =>
    a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

  function cost(box, { dots, boxes, width, height }) {
    let sum = 0;
    for (let i = 0; i < dots.length; i += 2) {
      const [x, y] = [dots[i] - box.x, dots[i + 1] - box.y];
      if (x > -2 && x < box.width + 2 && y > -2 && y < box.height + 2) sum += DOT;
    }
    for (const other of boxes) if (meet(box, other)) sum += BOX;
    const out = box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height;
    return out ? sum + OUT : sum;
  }

  /** The box that hides least of a crowd {dots: [x, y, x, y ...], boxes, width, height}, the first among equals; it joins
   * the crowd. */
  function settle(boxes, crowd) {
    const costs = boxes.map((box) => cost(box, crowd));
    const found = boxes[costs.indexOf(Math.min(...costs))];
    crowd.boxes.push(found);
    return found;
  }

  /** Points of a line through places [x, y] every few pixels, as dots of a crowd. */
  function along(places, every = 4) {
    const found = [];
    places.slice(1).forEach(([x1, y1], i) => {
      const [x0, y0] = places[i];
      const count = Math.max(1, Math.ceil(Math.hypot(x1 - x0, y1 - y0) / every));
      for (let k = 0; k <= count; k++) found.push(x0 + ((x1 - x0) * k) / count, y0 + ((y1 - y0) * k) / count);
    });
    return found;
  }

  page.names = { HIGH, around, settle, along };
})((globalThis.dmdlab ??= {}));
