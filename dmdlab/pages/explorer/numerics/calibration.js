"use strict";
// Angles from cosines: the calibration that travels, inverted as dmdlab/pairing/calibration.py does.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** y at x of a broken line through (xs, ys), xs rising; the end values beyond its ends. */
  function interpolate(x, xs, ys) {
    if (x <= xs[0]) return ys[0];
    for (let i = 1; i < xs.length; i += 1) {
      if (x <= xs[i]) return ys[i - 1] + ((x - xs[i - 1]) / (xs[i] - xs[i - 1])) * (ys[i] - ys[i - 1]);
    }
    return ys[ys.length - 1];
  }

  /** The planted angle that lowers pair_cosine as much: {angle, beyond: 90 degrees or more}; null where the calibration
   * cannot tell 0 from 90 degrees, or there is no cosine. */
  function angleOf(calibration, pairCosine) {
    const fine = calibration?.fine;
    if (!fine || pairCosine === null || Number.isNaN(pairCosine)) return null;
    const { angles, pair_cosine: curve } = fine;
    if (pairCosine <= curve[curve.length - 1]) return { angle: angles[angles.length - 1], beyond: true };
    const falling = distinct(curve.map((value) => -value));
    const bent = angles.map((angle) => 1 - Math.cos((angle * Math.PI) / 180)); // in which the curve is nearly a line
    const found = interpolate(-pairCosine, falling, bent);
    return { angle: (Math.acos(1 - found) * 180) / Math.PI, beyond: false };
  }

  /** Rising numbers made strictly so by the least steps, since a flat part has no one place. */
  function distinct(values) {
    const found = [values[0]];
    for (let i = 1; i < values.length; i += 1) found.push(Math.max(values[i], found[i - 1] + 1e-15));
    return found;
  }

  /** A measure at a planted angle, linearly between the planted ones; null where it is unresolved. */
  function at(calibration, key, angle) {
    const curve = calibration?.curves?.[key];
    if (!curve || curve.some((value) => value === null)) return null;
    return interpolate(angle, calibration.angles, curve);
  }

  Object.assign(numerics, { interpolate, angleOf, at });
})((globalThis.dmdlab ??= {}));
