"use strict";
/* Scales and ticks of charts and rulers: pure numbers. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** 0 ... 1 along an axis {low, high, scale}: 'linear', 'log', or 'zero_log', which is linear below 0.1 and holds 0. */
  function share(axis, value) {
    const bend = BENDS[axis.scale ?? "linear"];
    const [low, high] = [bend(axis.low), bend(axis.high)];
    return high === low ? 0.5 : (bend(value) - low) / (high - low);
  }

  const BENDS = {
    linear: (value) => value,
    log: (value) => Math.log10(Math.max(value, 1e-300)),
    zero_log: (value) => Math.sign(value) * Math.log10(1 + Math.abs(value) / 0.1),
  };

  /** Places of an axis that are marked, at most about `most`. */
  function ticks(axis, most = 5) {
    if (axis.ticks) return axis.ticks.filter((value) => value >= axis.low && value <= axis.high);
    if (axis.scale === "log") return decades(axis.low, axis.high, most);
    if (axis.scale === "zero_log")
      return thinned(
        [0, ...decades(0.1, axis.high, 9)].filter((v) => v >= axis.low),
        most,
      );
    const wide = axis.high - axis.low;
    if (!(wide > 0)) return [axis.low];
    const power = 10 ** Math.floor(Math.log10(wide / most));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => wide / candidate <= most);
    const found = [];
    for (let k = Math.ceil(axis.low / step - 1e-9); k * step <= axis.high + 1e-9 * wide; k++)
      found.push(Number((k * step).toPrecision(12)));
    return found;
  }

  function decades(low, high, most) {
    const found = [];
    for (let k = Math.ceil(Math.log10(low) - 1e-9); k <= Math.log10(high) + 1e-9; k++) found.push(Number(`1e${k}`));
    return thinned(found, most);
  }

  function thinned(values, most) {
    const every = Math.max(1, Math.ceil(values.length / most));
    return values.filter((_, i) => (values.length - 1 - i) % every === 0);
  }

  /** The smallest and greatest finite number of some; null for none. */
  function ends(values) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values)
      if (value !== null && Number.isFinite(value)) {
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    return low <= high ? [low, high] : null;
  }

  page.axis = { share, ticks, ends };
})((globalThis.dmdlab ??= {}));
