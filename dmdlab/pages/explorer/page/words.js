"use strict";
/* Numbers as text, by the rules of the Python package, so that page, report and terminal agree. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Three digits, '–' for none; a power of ten only from a billion on and below 0.0001. */
  function number(value) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "infinite" : "-infinite";
    const size = Math.abs(value);
    if (size >= 100 && size < 1e9) return value.toFixed(0);
    if (size !== 0 && (size < 1e-4 || size >= 1e9)) {
      const [digits, power] = value.toExponential(2).split("e");
      return `${String(Number(digits))}e${power[0]}${power.slice(1).padStart(2, "0")}`;
    }
    return String(Number(value.toPrecision(3)));
  }

  /** '1 degree', '30 degrees'. */
  function degrees(angle, beyond = false) {
    if (beyond) return "90 degrees or more";
    if (angle > 0 && angle <= 0.5) return "less than half a degree";
    const whole = Math.round(angle);
    return `${whole} degree${whole === 1 ? "" : "s"}`;
  }

  /** '30°', '90° or more': a calibrated angle ends there. */
  const shortDegrees = (angle) => (angle >= 90 ? "90° or more" : `${Math.round(angle)}°`);

  /** A share in percent: whole from ten percent on, two digits below, '–' for none. */
  function percent(share) {
    if (!Number.isFinite(share)) return number(share);
    return `${Math.abs(share) >= 0.0995 ? Math.round(100 * share) : Number((100 * share).toPrecision(2))} %`;
  }

  /** A place of the plane: '(0.42, -1.1)'. */
  const place = (x, y) => `(${number(Number(x.toFixed(2)))}, ${number(Number(y.toFixed(2)))})`;

  /** 'a, b and c'. */
  function listed(items) {
    return items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;
  }

  /** The value of a setting, short. */
  function setting(value) {
    return typeof value === "number"
      ? value !== 0 && Math.abs(value) < 0.01
        ? value.toExponential(0).replace("e-", "e-")
        : String(value)
      : String(value);
  }

  /** A value beside what a student without memory reads, which is no bound: a turned one can read more. */
  const ruled = (value, ceiling) => `${number(value)} (${number(ceiling)}: no memory)`;

  page.words = { number, degrees, shortDegrees, percent, place, listed, setting, ruled };
})((globalThis.dmdlab ??= {}));
