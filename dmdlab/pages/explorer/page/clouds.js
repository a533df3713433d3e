"use strict";
/* Teacher and student of a run side by side, each point in the colour of its noise. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Two planes. options: `run()`; `titles`, `labels` {teacher, student}; `points(who)` where they are not the run's own. */
  page.clouds = function (model, { run, titles, labels, points = (who) => model.points(run())[who] }) {
    return ["teacher", "student"].map((who) =>
      page.plane.create({
        title: page.dom.sentence([who, titles[who]]),
        label: labels[who],
        extent: () => model.extent(run()),
        paint: (pen) => pen.dots(points(who), model.colours(run()), pen.size > 260 ? 3 : 2.2),
      }),
    );
  };
})((globalThis.dmdlab ??= {}));
