"use strict";
// The colour of a noise vector, as in the figures (dmdlab/plots/clouds.py): hue its direction, lightness its distance.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const TO_RGB = [
    [3.2406, -1.5372, -0.4986],
    [-0.9689, 1.8758, 0.0415],
    [0.0557, -0.204, 1.057],
  ];

  /** [r, g, b] in 0 ... 255 of a point of the noise's plane, whose coordinates have standard deviation sigmaMax. */
  function noiseColour(x, y, sigmaMax) {
    const radius = Math.hypot(x, y) / sigmaMax;
    const angle = Math.atan2(y, x);
    const lightness = 38 + 40 * (1 - Math.exp(-0.5 * radius * radius));
    return fromLab(lightness, 42 * Math.cos(angle), 42 * Math.sin(angle));
  }

  /** CIELAB (D65) to sRGB, clipped to what a screen can show. */
  function fromLab(lightness, a, b) {
    const y = (lightness + 16) / 116;
    const xyz = [y + a / 500, y, y - b / 200].map((t) => (t > 6 / 29 ? t ** 3 : 3 * (6 / 29) ** 2 * (t - 4 / 29)));
    const white = [0.95047, 1, 1.08883];
    return TO_RGB.map((row) => {
      const sum = row.reduce((total, factor, i) => total + factor * white[i] * xyz[i], 0);
      const linear = Math.min(1, Math.max(0, sum));
      const value = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
      return Math.round(255 * value);
    });
  }

  Object.assign(numerics, { noiseColour });
})((globalThis.dmdlab ??= {}));
