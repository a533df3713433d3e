"use strict";
// erf, erfc and erfcx after Cody (Mathematics of Computation 23, 1969): rational functions, errors near rounding.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const A = [3.1611237438705656, 113.864154151050156, 377.485237685302021, 3209.37758913846947, 0.185777706184603153];
  const B = [23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062];
  const C = [
    0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131, 881.95222124176909,
    1712.04761263407058, 2051.07837782607147, 1230.33935479799725, 2.15311535474403846e-8,
  ];
  const D = [
    15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
    4362.61909014324716, 3439.36767414372164, 1230.33935480374942,
  ];
  const P = [
    0.305326634961232344, 0.360344899949804439, 0.125781726111229246, 0.0160837851487422766, 6.58749161529837803e-4,
    0.0163153871373020978,
  ];
  const Q = [
    2.56852019228982242, 1.87295284992346047, 0.527905102951428412, 0.0605183413124413191, 0.00233520497626869185,
  ];
  const SMALL = 0.46875;

  function erf(x) {
    const y = Math.abs(x);
    if (y > SMALL) return Math.sign(x) * (1 - Math.exp(-y * y) * scaled(y));
    const square = y * y;
    let top = A[4] * square;
    let bottom = square;
    for (let i = 0; i < 3; i += 1) {
      top = (top + A[i]) * square;
      bottom = (bottom + B[i]) * square;
    }
    return (x * (top + A[3])) / (bottom + B[3]);
  }

  /** exp(y^2) erfc(y) for y > 0.46875. */
  function scaled(y) {
    if (y <= 4) {
      let top = C[8] * y;
      let bottom = y;
      for (let i = 0; i < 7; i += 1) {
        top = (top + C[i]) * y;
        bottom = (bottom + D[i]) * y;
      }
      return (top + C[7]) / (bottom + D[7]);
    }
    const square = 1 / (y * y);
    let top = P[5] * square;
    let bottom = square;
    for (let i = 0; i < 4; i += 1) {
      top = (top + P[i]) * square;
      bottom = (bottom + Q[i]) * square;
    }
    const tail = (square * (top + P[4])) / (bottom + Q[4]);
    return (1 / Math.sqrt(Math.PI) - tail) / y;
  }

  /** exp(x^2) erfc(x) for x >= 0. */
  function erfcx(x) {
    return x > SMALL ? scaled(x) : Math.exp(x * x) * (1 - erf(x));
  }

  /** I_1(k) / I_0(k) of Bessel functions, k >= 0: Gauss's continued fraction, Hankel's series from 60 on. */
  function besselRatio(k) {
    if (k > 60) {
      const t = 1 / k;
      return 1 - t * (0.5 + t * (0.125 + t * (0.125 + t * (25 / 128 + t * (13 / 32)))));
    }
    let ratio = 0;
    for (let m = 90; m >= 1; m -= 1) ratio = k / (2 * m + k * ratio);
    return ratio;
  }

  Object.assign(numerics, { erf, erfcx, besselRatio });
})((globalThis.dmdlab ??= {}));
