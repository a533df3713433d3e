"use strict";
/* What pointer and keys do on the noise plane. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const REACH = 4;
  const near = (value) => Number(Math.min(REACH, Math.max(-REACH, value)).toFixed(3));

  page.noiseHands = function (store, plane, { pin, cursor }) {
    const { canvas } = plane;
    let pressed = null;

    const place = (event) => plane.at(event).map(near);

    canvas.addEventListener("pointermove", (event) => {
      if (store.get("tool") === "region") {
        if (pressed) disc(pressed, place(event));
        return;
      }
      store.set({ z: [place(event)] });
    });
    canvas.addEventListener("pointerdown", (event) => {
      pressed = place(event);
      if (store.get("tool") === "region") canvas.setPointerCapture(event.pointerId);
      else store.set({ z: [pressed] });
    });
    canvas.addEventListener("pointerup", (event) => {
      const here = place(event);
      const still = pressed && Math.hypot(here[0] - pressed[0], here[1] - pressed[1]) < 0.08;
      if (store.get("tool") === "region" && pressed) disc(pressed, here);
      else if (still && event.pointerType === "mouse") pin(here);
      pressed = null;
    });
    canvas.addEventListener("pointercancel", () => (pressed = null));

    function disc(centre, edge) {
      const radius = Math.hypot(edge[0] - centre[0], edge[1] - centre[1]);
      store.set({ region: [[centre[0], centre[1], near(radius < 0.1 ? 0.5 : radius)]] });
    }

    canvas.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.25 : 0.05;
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
      const [x, y] = cursor();
      const [region] = store.get("region");
      if (event.key in moves) store.set({ z: [[near(x + moves[event.key][0]), near(y + moves[event.key][1])]] });
      else if (event.key === "Enter" || event.key === " ") pin([near(x), near(y)]);
      else if (event.key === "Delete" || event.key === "Backspace") store.set({ pins: store.get("pins").slice(0, -1) });
      else if (event.key.toLowerCase() === "r") store.set({ region: region ? [] : [[near(x), near(y), 0.5]] });
      else if ((event.key === "+" || event.key === "-") && region)
        store.set({
          region: [[region[0], region[1], near(Math.max(0.1, region[2] + (event.key === "+" ? 0.1 : -0.1)))]],
        });
      else return;
      event.preventDefault();
    });
  };
})((globalThis.dmdlab ??= {}));
