"use strict";
/* Predict first: questions whose answers stay hidden until the class has voted. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Questions {text, options, right, answer, figure?} made of what is in this file; pure but for the model. */
  function questions(model, draw) {
    const { number, degrees, percent } = page.words;
    const found = [];
    const base = model.opening;
    found.push(whichNoise(model, draw));
    const rotated = telling(model);
    const own = rotated && cosineToTurned(model, rotated);
    if (own !== null && own > 0.5)
      found.push({
        text: "A student starts at its teacher behind a turned noise, and is trained as the others are. Which pairing does it end with?",
        options: ["its teacher's", "the turned one that it started with", "none: training mixes all"],
        right: 1,
        answer: `Against its teacher its pair cosine is ${number(rotated.metrics.pair_cosine?.value)} (0 is chance); a student that started at the teacher itself reads ${number(base.metrics.pair_cosine?.value)}. Against the teacher behind the turn it reads ${number(own)}: it keeps its start.`,
        see: "cause",
      });
    const dims = model.along("law.dim", base);
    if (dims.length > 1) {
      const [first, last] = [dims[0], dims.at(-1)];
      const [a, b] = [first, last].map((run) => run.metrics.delta_e ?? {});
      const [turnA, turnB] = [first, last].map((run) => run.metrics.remap_angle?.value ?? null);
      if (a.value !== null && b.value !== null && turnA !== null && turnB !== null)
        found.push({
          text: `delta_e is ${number(a.value)} in ${first.settings["law.dim"]} dimensions and ${number(b.value)} in ${last.settings["law.dim"]}. In which does the student copy better?`,
          options: [`in ${first.settings["law.dim"]}`, `in ${last.settings["law.dim"]}`, "delta_e alone cannot tell"],
          right: 2,
          answer: `Its ceiling, what a student without memory reads, goes from ${number(a.ceiling)} to ${number(b.ceiling)} by itself. The calibrated angle says ${degrees(turnA, turnA >= 90)} and ${degrees(turnB, turnB >= 90)}.`,
          see: "dimension",
        });
    }
    const far = model.calibrationOf(model.dims().at(-1));
    const near = model.calibrationOf(model.dims()[0]);
    const recall = far ? dmdlab.numerics.at(far, "recall_at_1", 45) : null;
    if (recall !== null) {
      const options = ["under one in ten", "about half", "more than nine in ten", "something else between"];
      found.push({
        text: `The teacher's noise is turned by 45° in ${far.d} dimensions. How many of ${far.n} samples are still nearest to their own partner?`,
        options,
        right: recall < 0.1 ? 0 : recall > 0.9 ? 2 : recall > 0.4 && recall < 0.6 ? 1 : 3,
        answer: `${percent(recall)} (recall_at_1). In ${near.d} dimensions it would be ${percent(dmdlab.numerics.at(near, "recall_at_1", 45) ?? NaN)}: how a metric falls depends on the dimension.`,
        see: "remap",
      });
    }
    return found;
  }

  /** Whether these runs show that a start is kept: the teacher's mostly, while the turned one does not come back to it. */
  function tells(base, rotated) {
    const [a, b] = [base, rotated].map((run) => run.metrics.pair_cosine?.value ?? NaN);
    return a > 0.5 && Math.abs(b) < a / 2;
  }

  /** pair_cosine of a run with the teacher behind the turn that it started at; null where it cannot be computed here. */
  function cosineToTurned(model, run) {
    const [maps, points] = [model.maps(run), model.points(run)];
    if (!maps || !run.turn) return null;
    const turned = maps.teacher(dmdlab.numerics.applyTurn(run.turn, points.noise));
    return dmdlab.numerics.pairCosine(turned, points.student);
  }

  /** The run behind a rotated noise that tells it, beside the opening one; null where there is none. */
  function telling(model) {
    const base = model.opening;
    const rotated = model.nearest(
      { "student.init": "rotated" },
      base,
      model.runs.filter((run) => run.settings["law.dim"] === base.settings["law.dim"]),
    );
    const other = String(rotated.settings["student.init"]) === "rotated" && rotated !== base;
    return other && tells(base, rotated) ? rotated : null;
  }

  function whichNoise(model, draw) {
    const run = model.first;
    const points = model.points(run);
    const random = dmdlab.numerics.generator(draw);
    const sigma = run.noise.sigma_max;
    const one = () => Math.floor(random.uniform() * points.n);
    const z = (i) => [points.noise[2 * i] / sigma, points.noise[2 * i + 1] / sigma];
    const apart = (i, j) => Math.hypot(z(i)[0] - z(j)[0], z(i)[1] - z(j)[1]);
    const inside = (i) => Math.hypot(...z(i)) < 2.2 && Math.hypot(...z(i)) > 0.4;
    const rows = [];
    for (let tries = 0; rows.length < 3 && tries < 5000; tries++) {
      const i = one();
      if (inside(i) && rows.every((j) => apart(i, j) > 1)) rows.push(i);
    }
    while (rows.length < 3) rows.push(one());
    const right = Math.floor(random.uniform() * 3);
    return {
      text: "The student made the marked sample. From which noise?",
      options: ["A", "B", "C"],
      right,
      rows,
      run,
      answer: `From ${"ABC"[right]}. The teacher sends the same noise to the blue place. Colours show where every sample came from.`,
      see: model.pictured ? "pictures" : "noise",
    };
  }

  function start(model, store) {
    const { dom, words, theme } = page;
    let asked = questions(model, store.get("draw"));
    let votes = [];
    let open = false;
    const now = () => asked[Math.min(store.get("question"), asked.length) - 1];
    const card = dom.el("div", { class: "question" });
    const pictured = dom.el("div", { class: "panels two pictured" });
    const planes = ["noise", "student"].map((who) =>
      page.plane.create({
        title: who === "noise" ? "Noise" : dom.sentence(["student", "The student's samples"]),
        label: who === "noise" ? "Three places in the noise, A, B and C" : "The student's samples, one of them marked",
        extent: () => (who === "noise" ? { centre: [0, 0], half: 3.2 } : model.extent(asked[0].run)),
        paint(pen) {
          const { rows, run, right } = asked[0];
          const [points, sigma] = [model.points(run), run.noise.sigma_max];
          const places = who === "noise" ? points.noise.map((value) => value / sigma) : points.student;
          pen.dots(places, open ? model.colours(run) : theme.colour("pale"), 2.4, 0.9);
          const at = (array, i) => [array[2 * i], array[2 * i + 1]];
          if (who === "noise")
            rows.forEach((i, k) =>
              pen.mark(
                ...at(places, i),
                open ? theme.ofOne(...at(places, i), 1) : theme.colour("ink"),
                "dot",
                "ABC"[k],
              ),
            );
          else {
            if (open) pen.mark(...at(points.teacher, rows[right]), theme.colour("teacher"));
            pen.mark(...at(places, rows[right]), theme.colour("student"), "square", open ? "ABC"[right] : "?");
          }
        },
      }),
    );
    pictured.append(...planes.map((plane) => plane.node));
    const { button } = page.controls;
    const figure = page.figure.create("predict", { layout: "quiz", panels: [pictured, card], controls: [] });

    function draw() {
      const question = now();
      const total = votes.reduce((sum, count) => sum + count, 0);
      pictured.hidden = question.rows === undefined;
      const list = question.options.map((option, i) =>
        dom.el(
          "li",
          { class: `vote ${open && i === question.right ? "right" : ""}` },
          dom.el(
            "button",
            {
              type: "button",
              disabled: open,
              "data-option": i,
              "aria-label": `Vote for ${option}`,
              onclick: () => vote(i),
            },
            option,
          ),
          dom.el("meter", {
            min: 0,
            max: Math.max(1, total),
            value: votes[i],
            "aria-label": `${votes[i]} of ${total} votes`,
          }),
          dom.el("span", { class: "number", text: String(votes[i]) }),
        ),
      );
      dom.put(
        card,
        dom.el("h3", { text: `${Math.min(store.get("question"), asked.length)} of ${asked.length}: ${question.text}` }),
        dom.el("ul", { class: "votes" }, ...list),
        open
          ? dom.el(
              "p",
              { class: "answer" },
              dom.el("strong", { text: `${question.options[question.right]}. ` }),
              question.answer,
              " ",
              dom.el("a", { href: `#${question.see}`, text: "See it.", onclick: page.jump(question.see) }),
            )
          : null,
        dom.el(
          "div",
          { class: "controls" },
          button("predict", open ? "Hide the answer" : "Show the answer", reveal, { class: "main" }),
          button("predict", "Next question", next),
          votes.some((count) => count > 0) ? button("predict", "Clear the votes", () => reset()) : null,
        ),
      );
      card.dataset.right = open ? String(question.right) : "";
    }

    function refocused(work) {
      const active = document.activeElement;
      const label = card.contains(active) ? active.textContent : null;
      work();
      draw();
      for (const plane of planes) plane.repaint();
      if (label !== null)
        (
          [...card.querySelectorAll("button")].find((one) => one.textContent === label && !one.disabled) ??
          card.querySelector("button.main")
        ).focus();
    }
    const vote = (i) => refocused(() => (votes[i] += 1));
    function reveal() {
      refocused(() => (open = !open));
      const question = now();
      const total = votes.reduce((sum, count) => sum + count, 0);
      figure.say(
        open
          ? `${total > 0 ? `${words.percent(votes[question.right] / total)} of ${total} votes were right. ` : ""}${question.options[question.right]}: ${question.answer}`
          : "The answer is hidden.",
        true,
      );
    }
    const next = () => store.set({ question: (Math.min(store.get("question"), asked.length) % asked.length) + 1 });
    const reset = () => refocused(() => (votes = now().options.map(() => 0)));

    store.follow(["question", "draw"], () => {
      asked = questions(model, store.get("draw"));
      refocused(() => {
        votes = now().options.map(() => 0);
        open = false;
      });
      figure.say("", true);
    });
  }

  page.predict = { start, questions, telling, tells };
})((globalThis.dmdlab ??= {}));
