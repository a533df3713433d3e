"use strict";
// Random numbers from a seed, the same in every browser.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});

  /** A stream of numbers from a seed (an integer): mulberry32, and Box and Muller's normal numbers from it. */
  function generator(seed) {
    let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ seed) >>> 0;
    let spare = null;
    function uniform() {
      state = (state + 0x6d2b79f5) >>> 0;
      let word = Math.imul(state ^ (state >>> 15), state | 1);
      word ^= word + Math.imul(word ^ (word >>> 7), word | 61);
      return ((word ^ (word >>> 14)) >>> 0) / 4294967296;
    }
    function normal() {
      if (spare !== null) {
        const kept = spare;
        spare = null;
        return kept;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    }
    function normals(count) {
      return Float64Array.from({ length: count }, normal);
    }
    return { uniform, normal, normals };
  }

  Object.assign(numerics, { generator });
})((globalThis.dmdlab ??= {}));
