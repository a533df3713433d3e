"use strict";
/* Numbers as text, by the rules of the Python package, so that page, report and terminal agree. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Three digits, '–' for none; a power of ten only from a billion on and below 0.0001. */
  function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
    const size = Math.abs(value);
    if (size >= 100 && size < 1e9) return String(whole(value));
    const near = rounded(value, 3);
    if (near !== 0 && (Math.abs(near) < 1e-4 || size >= 1e9)) {
      const [digits, power] = near.toExponential().split("e");
      return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
    }
    return String(near);
  }

  /** The nearest whole number, as Python rounds: of two that are equally near, the even one. */
  function whole(value) {
    const up = Math.round(value);
    return up - value === 0.5 && up % 2 !== 0 ? up - 1 : up;
  }

  /** The nearest number of so many digits (two or more), likewise. */
  function rounded(value, digits) {
    const exact = value.toExponential(40).split("e")[0];
    const head = exact.slice(0, exact.indexOf(".") + digits);
    const halfway = /[02468]$/.test(head) && /^50*$/.test(exact.slice(head.length));
    return halfway ? Number(value.toExponential(40).replace(exact, head)) : Number(value.toPrecision(digits));
  }

  /** '1 degree', '30 degrees'. */
  function degrees(angle, beyond = false) {
    if (beyond) return "90 degrees or more";
    if (angle > 0 && angle <= 0.5) return "less than half a degree";
    const near = whole(angle);
    return `${near} degree${near === 1 ? "" : "s"}`;
  }

  /** '30°', '90° or more': a calibrated angle ends there. */
  const shortDegrees = (angle) => (angle >= 90 ? "90° or more" : `${whole(angle)}°`);

  /** A share in percent: whole from ten percent on, two digits below, '–' for none; 100 % and 0 % only if it is so. */
  function percent(share) {
    if (share === null || share === undefined || Number.isNaN(share)) return "–";
    if (!Number.isFinite(share)) return `${number(share)} %`;
    if (share > 0 && share < 1e-6) return "less than 0.0001 %";
    if (Math.abs(share) < 1e-6) return "0 %";
    if (share >= 0.995 && share < 1) return `${Math.min(99.99, Math.floor(1e4 * share) / 100)} %`;
    return `${Math.abs(share) >= 0.0995 ? whole(100 * share) : rounded(100 * share, 2)} %`;
  }

  /** A place of the plane: '(0.42, -1.1)'. */
  const place = (x, y) => `(${number(Number(x.toFixed(2)))}, ${number(Number(y.toFixed(2)))})`;

  /** 'a, b and c'. */
  function listed(items) {
    return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
  }

  /** A value beside what a student without memory reads, which is no bound: a turned one can read more. */
  const ruled = (value, ceiling) => `${number(value)} (${number(ceiling)}: no memory)`;

  /** A measure in a few words: those of its panels in figures, or the first of how it reads. */
  const meaning = ({ title, reads_as }) => title || reads_as.split(/[;:,]/)[0];

  /** A text whose numbers are not broken between lines: '5 %' and '1e-4' stay whole. */
  const unbroken = (text) => text.replaceAll(" %", "\u00a0%").replace(/(\de)-(?=\d)/g, "$1-\u2060");

  page.words = { number, degrees, shortDegrees, percent, place, listed, ruled, meaning, unbroken };
})((globalThis.dmdlab ??= {}));
