"use strict";
/* The colours of the style sheet for canvases, and who must paint anew when light becomes dark or the page is printed. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const painters = new Set();
  let known = {};

  /** The colour that the style sheet names so: 'teacher', 'ink', ... */
  function colour(name) {
    known[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
    return known[name];
  }

  const isPrinted = () => document.documentElement.dataset.print !== undefined;

  const isDark = () => !isPrinted() && matchMedia("(prefers-color-scheme: dark)").matches;

  /** Calls `work(now)` whenever the colours change; `now`: at once, for a printer that does not wait. */
  function onChange(work) {
    painters.add(work);
  }

  function changed(now) {
    known = {};
    for (const work of painters) work(now);
  }

  function start() {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed(false));
    addEventListener("beforeprint", () => {
      document.documentElement.dataset.print = "";
      changed(true);
    });
    addEventListener("afterprint", () => {
      delete document.documentElement.dataset.print;
      changed(false);
    });
  }

  /** '#rrggbb' or 'rgb()' colours of noise vectors, by direction and distance, as in the figures; n strings. */
  function ofNoise(noise, sigmaMax) {
    const dark = isDark();
    const found = new Array(noise.length / 2);
    for (let i = 0; i < found.length; i++) found[i] = ofOne(noise[2 * i], noise[2 * i + 1], sigmaMax, dark);
    return found;
  }

  function ofOne(x, y, sigmaMax, dark = isDark()) {
    const rgb = dmdlab.numerics.noiseColour(x, y, sigmaMax);
    const [r, g, b] = dark ? rgb.map((c) => Math.round(72 + 0.72 * c)) : rgb.map((c) => Math.round(0.9 * c));
    return `rgb(${r},${g},${b})`;
  }

  page.theme = { colour, isDark, isPrinted, onChange, start, ofNoise, ofOne };
})((globalThis.dmdlab ??= {}));
