"use strict";
// Turns of the noise in the plane: the planted one of a slider, and those that a run's student stands behind.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** z (n * 2) turned about 0 by an angle in degrees, counter-clockwise. */
  function turnNoise(z, degrees) {
    const angle = (degrees * Math.PI) / 180;
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const found = new Float64Array(z.length);
    for (let i = 0; i < z.length; i += 2) {
      found[i] = c * z[i] - s * z[i + 1];
      found[i + 1] = s * z[i] + c * z[i + 1];
    }
    return found;
  }

  /** R z of a run: z itself for null, z times a matrix, or each z turned by an angle that depends on its norm. */
  function applyTurn(turn, z) {
    if (!turn) return z;
    const found = new Float64Array(z.length);
    for (let i = 0; i < z.length; i += 2) {
      let m = turn.matrix;
      if (turn.kind === "twist") {
        const u = ((z[i] ** 2 + z[i + 1] ** 2) / turn.sigma_max ** 2 - 2) / 2;
        const angle = turn.angle * u * turn.side;
        m = [
          [Math.cos(angle), Math.sin(angle)],
          [-Math.sin(angle), Math.cos(angle)],
        ];
      }
      found[i] = z[i] * m[0][0] + z[i + 1] * m[1][0];
      found[i + 1] = z[i] * m[0][1] + z[i + 1] * m[1][1];
    }
    return found;
  }

  Object.assign(numerics, { turnNoise, applyTurn });
})((globalThis.dmdlab ??= {}));
