"use strict";
/* One noise, two destinations: hover, pins, regions, and the plane as a grid that both maps deform. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const GRID = { reach: 3, step: 0.5, cut: 48 };
  const RIM = 72;

  /** Lines of a square grid in units of sigma_max: arrays of n x 2. */
  function gridLines({ reach, step, cut } = GRID) {
    const lines = [];
    for (let at = -reach; at <= reach + 1e-9; at += step)
      for (const across of [false, true]) {
        const line = new Float64Array(2 * (cut + 1));
        for (let i = 0; i <= cut; i++) {
          const along = -reach + (2 * reach * i) / cut;
          line[2 * i] = across ? along : at;
          line[2 * i + 1] = across ? at : along;
        }
        lines.push(line);
      }
    return lines;
  }

  /** The rim of a disc, n x 2. */
  function rim([x, y, radius], count = RIM) {
    const found = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      found[2 * i] = x + radius * Math.cos((2 * Math.PI * i) / count);
      found[2 * i + 1] = y + radius * Math.sin((2 * Math.PI * i) / count);
    }
    return found;
  }

  const scaled = (points, by) => Float64Array.from(points, (value) => value * by);

  /** The mean of |G_i - P_j| over all i and j that differ. */
  function meanApart({ n, teacher, student }) {
    let sum = 0;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < n; j++)
        if (i !== j) sum += Math.hypot(student[2 * i] - teacher[2 * j], student[2 * i + 1] - teacher[2 * j + 1]);
    return sum / (n * (n - 1));
  }

  /** What both maps do with places of the noise; by the networks where they are here, otherwise by the nearest row. */
  function looker(model, run) {
    const [points, maps, sigma] = [model.points(run), model.maps(run), run.noise.sigma_max];
    const apart = dmdlab.numerics.displacement(points.teacher, points.student);
    function nearestRow([x, y]) {
      let best = 0;
      let least = Infinity;
      for (let i = 0; i < points.n; i++) {
        const far = (points.noise[2 * i] - sigma * x) ** 2 + (points.noise[2 * i + 1] - sigma * y) ** 2;
        if (far < least) [best, least] = [i, far];
      }
      return best;
    }
    return {
      points,
      maps,
      apart,
      /** How far samples of different noise lie apart, on average: the ruler of a displacement. */
      atRandom: meanApart(points),
      /** {z, teacher, student, distance, percentile, path} of one place in units of sigma_max. */
      look(place) {
        let found;
        if (maps) {
          const z = Float64Array.of(sigma * place[0], sigma * place[1]);
          const path = maps.path(z);
          found = { z: place, teacher: path.at(-1), student: maps.student(z), path };
        } else {
          const i = nearestRow(place);
          const row = (array) => array.slice(2 * i, 2 * i + 2);
          found = {
            z: [...row(points.noise)].map((value) => value / sigma),
            teacher: row(points.teacher),
            student: row(points.student),
            path: null,
          };
        }
        const distance = Math.hypot(found.teacher[0] - found.student[0], found.teacher[1] - found.student[1]);
        return { ...found, distance, percentile: dmdlab.numerics.percentile(distance, apart) };
      },
      /** A telling place to begin with: displaced about as far as three quarters of all, and not far out. */
      telling() {
        const wanted = dmdlab.numerics.quantile(apart, 0.75);
        const order = [...apart.keys()].filter(
          (i) => Math.hypot(points.noise[2 * i], points.noise[2 * i + 1]) < 1.8 * sigma,
        );
        order.sort((a, b) => Math.abs(apart[a] - wanted) - Math.abs(apart[b] - wanted));
        const i = order[0] ?? 0;
        return [points.noise[2 * i] / sigma, points.noise[2 * i + 1] / sigma];
      },
    };
  }

  function start(model, store) {
    const { words, theme } = page;
    let now = null;
    let grids = null;

    function facts() {
      const run = model.run(store.get("run"));
      if (now?.run !== run) {
        const looking = looker(model, run);
        now = {
          run,
          ...looking,
          sigma: run.noise.sigma_max,
          extent: model.extent(run),
          first: looking.telling(),
          spread: model.payload.laws[run.law].sigma_data || 1,
        };
        grids = null;
      }
      return now;
    }

    const cursor = () => store.get("z")[0] ?? facts().first;
    let looked = { key: "", found: null };
    function found() {
      const key = `${store.get("run")} ${cursor()}`;
      if (looked.key !== key) looked = { key, found: facts().look(cursor()) };
      return looked.found;
    }

    function deformed() {
      const { maps, sigma } = facts();
      if (grids === null && maps) {
        const lines = gridLines();
        const whole = Float64Array.from(lines.flatMap((line) => [...scaled(line, sigma)]));
        const [teacher, student] = [maps.teacher(whole), maps.student(whole)];
        const cut = (array) => lines.map((line, i) => array.slice(i * line.length, (i + 1) * line.length));
        grids = { noise: lines, teacher: cut(teacher), student: cut(student) };
      }
      return grids;
    }

    function paintGrid(pen, which) {
      const all = deformed();
      if (all === null) return;
      all[which].forEach((line, k) => {
        const home = all.noise[k];
        for (let i = 0; i + 3 < line.length; i += 2)
          pen.line(
            line.slice(i, i + 4),
            theme.ofOne((home[i] + home[i + 2]) / 2, (home[i + 1] + home[i + 3]) / 2, 1),
            1.6,
          );
      });
    }

    function paintRegion(pen, which) {
      const { maps, sigma } = facts();
      for (const region of store.get("region")) {
        const edge = rim(region);
        if (which === "noise") pen.line(edge, theme.colour("ink"), 1.6, [], true, theme.colour("ink"));
        else if (maps) {
          const there = which === "teacher" ? maps.teacher(scaled(edge, sigma)) : maps.student(scaled(edge, sigma));
          pen.line(there, theme.colour(which), 1.8, [], true, theme.colour(which));
        }
      }
    }

    const planes = {};
    planes.noise = page.plane.create({
      title: ["Noise ", page.dom.el("small", { text: "in units of its spread" })],
      label:
        "The noise plane. Arrow keys move, Enter pins, R draws a region, plus and minus change it, Delete takes the last pin away.",
      keys: true,
      extent: () => ({ centre: [0, 0], half: 3.2 }),
      paint(pen) {
        const { run, points, sigma } = facts();
        pen.layer(`${run.id} ${store.get("grid")}`, (under) => {
          if (store.get("grid")) paintGrid(under, "noise");
          else under.dots(scaled(points.noise, 1 / sigma), model.colours(run), 2.6, 0.85);
        });
        paintRegion(pen, "noise");
        store.get("pins").forEach(([x, y], i) => pen.mark(x, y, theme.ofOne(x, y, 1), "dot", String(i + 1)));
        const [x, y] = found().z;
        pen.line([x - 9, y, x + 9, y], theme.colour("soft"), 0.7);
        pen.line([x, y - 9, x, y + 9], theme.colour("soft"), 0.7);
        pen.mark(x, y, theme.ofOne(x, y, 1));
      },
    });
    for (const who of ["teacher", "student"])
      planes[who] = page.plane.create({
        title: page.dom.sentence([who, who === "teacher" ? "Teacher's image" : "Student's image"]),
        label:
          who === "teacher"
            ? "Where the teacher carries the noise, with its path"
            : "Where the student puts the same noise, with the displacement",
        extent: () => facts().extent,
        paint(pen) {
          const { run, points, look, spread, maps } = facts();
          pen.layer(`${run.id} ${store.get("grid")}`, (under) => {
            if (store.get("grid") && maps) paintGrid(under, who);
            else under.dots(points[who], model.colours(run), 2.4, 0.6);
          });
          paintRegion(pen, who);
          store.get("pins").forEach((pin, i) => {
            const seen = look(pin);
            const [x, y] = seen[who];
            if (who === "student") pen.line([...seen.teacher, ...seen.student], theme.colour("soft"), 1.2, [3, 3]);
            pen.mark(x, y, theme.ofOne(pin[0], pin[1], 1), who === "student" ? "square" : "dot", String(i + 1));
          });
          const here = found();
          if (who === "teacher" && here.path) {
            const way = here.path.flatMap((state, k) => [...scaled(state, page.opening.shrink(maps.grid[k], spread))]);
            pen.line(way, theme.colour("teacher"), 2.4);
          }
          if (who === "student") {
            pen.line([...here.teacher, ...here.student], theme.colour("ink"), 2, [5, 4]);
            pen.mark(...here.teacher, theme.colour("teacher"));
            pen.mark(...here.student, theme.colour("student"), "square");
          } else pen.mark(...here.teacher, theme.colour("teacher"));
        },
      });

    const pin = (place) => store.set({ pins: [...store.get("pins"), place].slice(-model.MOST_PINS) });
    page.noiseHands(store, planes.noise, { pin, cursor: () => [...cursor()] });
    const { button, choice, toggle, select } = page.controls;
    const figure = page.figure.create("noise", {
      layout: "three lead-first",
      panels: [planes.noise.node, planes.teacher.node, planes.student.node],
      controls: [
        select(store, {
          name: "run",
          key: "run",
          label: "Student",
          values: (model.living.length > 0 ? model.living : model.runs).map((run) => [run.id, run.label]),
        }).node,
        choice(store, {
          name: "tool",
          key: "tool",
          label: "Pointer",
          values: [
            ["look", "looks"],
            ["region", "draws a region"],
          ],
        }).node,
        toggle(store, { name: "grid", key: "grid", label: "Deformed grid" }).node,
        button("pins", "Pin this place", () => pin([...cursor()])),
        button("pins", "Clear", () => store.set({ pins: [], region: [] }), { "aria-label": "Clear pins and region" }),
      ],
      rows: () => [
        ...[[cursor(), "cursor"], ...store.get("pins").map((place, i) => [place, `pin ${i + 1}`])].map(
          ([place, kind]) => tableRow(facts().look(place), kind, facts().sigma),
        ),
        ...page.pairsTable(model, facts().run).map((row) => ({
          kind: `pair ${row.row}`,
          ...drop(row),
          percentile: dmdlab.numerics.percentile(row.displacement, facts().apart),
        })),
      ],
    });

    function tell() {
      const { apart, atRandom, run, maps } = facts();
      const here = found();
      figure.say(
        `At noise ${words.place(...here.z)} the teacher leads to ${words.place(...here.teacher)}, the student to ${words.place(...here.student)}. ` +
          `They are ${words.number(here.distance)} apart: at least as far as ${Math.round(here.percentile)} % of the ${apart.length} pairs.${inRegion()}${maps ? "" : withoutMaps(run)}`,
      );
      for (const key of ["distance", "percentile"]) figure.readout.dataset[key] = String(here[key]);
      figure.readout.dataset.teacher = [...here.teacher].join(",");
      figure.readout.dataset.student = [...here.student].join(",");
      const mean = apart.reduce((sum, value) => sum + value, 0) / apart.length;
      figure.find(
        `Over all pairs of “${run.label}”, teacher and student end `,
        ["student", `${words.number(mean)} apart`],
        ` on average. For two different noises it would be ${words.number(atRandom)}.`,
      );
    }

    function withoutMaps(run) {
      const flat = model.payload.pairs[run.pairs].view ? " Distances are those in the two coordinates drawn." : "";
      return ` (The nearest pair of this file: no networks travel with this run.${flat})`;
    }

    function inRegion() {
      const [region] = store.get("region");
      if (!region) return "";
      const { points, sigma, apart } = facts();
      const inside = [...apart.keys()].filter(
        (i) =>
          Math.hypot(points.noise[2 * i] / sigma - region[0], points.noise[2 * i + 1] / sigma - region[1]) <= region[2],
      );
      if (inside.length === 0) return " The region holds none of the pairs.";
      return ` The region holds ${inside.length} of the pairs, ${words.number(inside.reduce((sum, i) => sum + apart[i], 0) / inside.length)} apart on average.`;
    }

    store.follow(["run", "z", "pins", "region", "grid", "tool"], () => {
      planes.noise.canvas.classList.toggle("touching", store.get("tool") === "region");
      for (const plane of Object.values(planes)) plane.repaint();
      tell();
    });
  }

  const drop = ({ row, ...rest }) => rest;

  function tableRow(seen, kind, sigma) {
    return {
      kind,
      ...page.save.place("noise", scaled(seen.z, sigma)),
      ...page.save.place("teacher", seen.teacher),
      ...page.save.place("student", seen.student),
      displacement: seen.distance,
      run: "",
      percentile: seen.percentile,
    };
  }

  page.noise = { start, gridLines, rim, looker };
})((globalThis.dmdlab ??= {}));
