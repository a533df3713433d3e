"use strict";
/* The paper's deformed circle: a student that turns by theta and projects; the loss stays flat. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const COUNT = 200;
  const DEFORM = 0.1;

  function start(model, store) {
    const { words, dom, theme } = page;
    const at = () =>
      dmdlab.numerics.circle(radians(store.get("circle")), { deform: DEFORM, count: COUNT, seed: store.get("draw") });
    const curve = dmdlab.numerics.circleCurve({ deform: DEFORM, count: 13 });
    /** Degrees -180 ... 180 with a column of the curve, whose own angles are 0 ... 360. */
    const folded = (column) =>
      curve.theta
        .map((theta, i) => [theta > 180 ? theta - 360 : theta, column[i]])
        .concat([[-180, column[curve.theta.indexOf(180)]]])
        .sort(([a], [b]) => a - b);
    let known = { key: "", found: null };
    function here() {
      const key = `${store.get("circle")} ${store.get("draw")}`;
      if (known.key !== key) known = { key, found: at() };
      return known.found;
    }
    const radians = (degrees) => (degrees * Math.PI) / 180;
    const cosine = () => dmdlab.numerics.pairCosine(here().teacher, here().student);
    let turns = { draw: null, cosines: [] };
    /** [degrees, pair cosine] of these very draws at turns all around. */
    function cosines() {
      if (turns.draw === store.get("draw")) return turns.cosines;
      const { angles, teacher } = here();
      const at = (degrees) => {
        const turned = [...angles].flatMap((angle) => dmdlab.numerics.onCurve(angle + radians(degrees), DEFORM));
        return [degrees, dmdlab.numerics.pairCosine(teacher, Float64Array.from(turned))];
      };
      turns = { draw: store.get("draw"), cosines: Array.from({ length: 73 }, (_, i) => at(5 * i - 180)) };
      return turns.cosines;
    }

    const planes = ["teacher", "student"].map((which) =>
      page.plane.create({
        title: dom.sentence(
          which === "teacher"
            ? ["teacher", "Teacher: noise projected"]
            : ["student", "Student: turned, then projected"],
        ),
        label:
          which === "teacher"
            ? "The teacher's samples on the deformed circle, coloured by the angle of their noise"
            : "The student's samples on the deformed circle, coloured likewise",
        extent: () => ({ centre: [0, 0], half: 1.35 }),
        paint(pen) {
          const found = here();
          const colours = [...found.angles].map((angle) => theme.ofOne(Math.cos(angle), Math.sin(angle), 1));
          pen.dots(found[which], colours, 4);
          const [x, y] = found[which];
          pen.mark(x, y, colours[0], which === "teacher" ? "dot" : "square", "one draw");
        },
      }),
    );
    const chart = page.chart.create({
      title: [
        ...dom.sentence(["student", "Pair cosine"]),
        " and loss ",
        dom.el("small", { text: "(grey, as a share of a collapsed student's)" }),
      ],
      label: "The loss stays near zero at every angle while pair cosine falls from 1 to -1",
      height: 260,
      spec: () => ({
        x: { low: -180, high: 180, ticks: [-180, -90, 0, 90, 180], format: (v) => `${v}°`, label: "turn theta" },
        y: { low: -1.05, high: 1.1, ticks: [-1, 0, 1] },
        lines: [
          { points: cosines(), class: "student" },
          { points: folded(curve.loss.map((loss) => loss / curve.collapsed)), class: "soft" },
        ],
        cursor: store.get("circle"),
        dots: [
          { x: store.get("circle"), y: cosine(), class: "student", big: true, name: words.number(cosine()) },
          { x: store.get("circle"), y: here().loss / curve.collapsed, class: "soft", big: true },
        ],
      }),
    });
    const figure = page.figure.create("circle", {
      layout: "three",
      panels: [...planes.map((plane) => plane.node), chart.node],
      controls: [
        page.controls.slider(store, {
          name: "circle",
          key: "circle",
          label: "Turn theta",
          low: -180,
          high: 180,
          step: 1,
          shown: (v) => `${v}°`,
        }).node,
      ],
      rows: () =>
        curve.theta.map((theta, i) => ({
          theta,
          loss: curve.loss[i],
          cost: curve.cost[i],
          loss_if_collapsed: curve.collapsed,
        })),
    });
    store.follow(["circle", "draw"], () => {
      for (const plane of planes) plane.repaint();
      chart.redraw();
      Object.assign(figure.readout.dataset, { loss: String(here().loss), cosine: String(cosine()) });
      figure.say(
        `Turned by ${store.get("circle")} degrees: loss ${words.number(small(here().loss))}, where a student of one single point has ${words.number(curve.collapsed)}; pair cosine ${words.number(cosine())}.`,
      );
    });
    const [most, values] = [Math.max(...curve.loss), cosines().map(([, value]) => value)];
    figure.find(
      `Over ${curve.theta.length} angles all around, the loss is at most `,
      ["student", words.number(small(most))],
      ` (a student of one single point: ${words.number(curve.collapsed)}), while the pair cosine goes from ` +
        `${words.number(Math.max(...values))} to ${words.number(Math.min(...values))}. A loss that sees only shapes cannot choose.`,
    );
  }

  /** Rounding errors of the quadrature are no loss. */
  const small = (loss) => (Math.abs(loss) < 1e-9 ? 0 : loss);

  page.circle = { start };
})((globalThis.dmdlab ??= {}));
