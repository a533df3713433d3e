"use strict";
// The paper's worked example of freedom: (1 + deform) x^2 + y^2 = 1. The teacher projects Gaussian noise on that curve
// along rays; a student turns the noise by theta first. Its law, and so the loss, is the same for every theta.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const LEVEL = 0.3;
  const NODES = 96;
  // 3-point Gauss-Hermite: expectations over a standard normal number
  const HERMITE = [
    [-Math.sqrt(3), 1 / 6],
    [0, 2 / 3],
    [Math.sqrt(3), 1 / 6],
  ];

  /** The point of the curve at an angle. */
  function onCurve(angle, deform) {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const radius = 1 / Math.sqrt((1 + deform) * c * c + s * s);
    return [radius * c, radius * s];
  }

  /** Points (n * 2) of angles turned by theta on the curve, or turned after they are there and so beside it. */
  function points(angles, theta, deform, projected) {
    const found = new Float64Array(2 * angles.length);
    angles.forEach((angle, i) => {
      const at = onCurve(projected ? angle + theta : angle, deform);
      const turned = projected ? at : numerics.turnNoise(Float64Array.from(at), (theta * 180) / Math.PI);
      found.set(turned, 2 * i);
    });
    return found;
  }

  /** E |s_student - s_teacher|^2 sigma^2 at one noise level over the student's noised points, by quadrature: what
   * distribution matching would have to lower. Centres (m * 2) are evenly spaced in the noise's angle. */
  function matchingLoss(teacher, student, sigma) {
    const denoisers = [teacher, student].map((cloud) => {
      const means = [];
      for (let i = 0; i < cloud.length; i += 2) means.push([cloud[i], cloud[i + 1]]);
      const none = means.map(() => 0);
      return numerics.exactDenoiser({ kind: "gaussians", means, log_weights: none, covariances: [[0, 0, 0]] });
    });
    let total = 0;
    for (const [a, wa] of HERMITE) {
      for (const [b, wb] of HERMITE) {
        const x = student.map((value, i) => value + sigma * (i % 2 ? b : a));
        const [target, own] = denoisers.map((denoise) => denoise(x, sigma));
        let sum = 0;
        for (let i = 0; i < x.length; i += 1) sum += (target[i] - own[i]) ** 2;
        total += (wa * wb * sum) / (x.length / 2);
      }
    }
    return total / (sigma * sigma);
  }

  function even(count) {
    return Float64Array.from({ length: count }, (_, i) => (2 * Math.PI * (i + 0.5)) / count);
  }

  /** The example at an angle theta, in radians: {angles, teacher, student, cost: mean |G - P|^2, loss}. `angles`
   * are those of `count` noise vectors; teacher and student their points; `projected`: whether the student projects after
   * it turns (the paper's; then its law is the teacher's, exactly) or not (then nearly). */
  function circle(theta, { deform = 0.1, count = 200, seed = 0, projected = true } = {}) {
    const random = numerics.generator(seed);
    const angles = Float64Array.from({ length: count }, () => Math.atan2(random.normal(), random.normal()));
    const teacher = points(angles, 0, deform, true);
    const student = points(angles, theta, deform, projected);
    let cost = 0;
    for (let i = 0; i < teacher.length; i += 1) cost += (student[i] - teacher[i]) ** 2 / count;
    return { angles, teacher, student, cost, loss: loss(theta, deform, projected) };
  }

  function loss(theta, deform, projected) {
    const nodes = even(NODES);
    return matchingLoss(points(nodes, 0, deform, true), points(nodes, theta, deform, projected), LEVEL);
  }

  /** Loss and cost over theta in 0 ... 360 degrees: {theta (degrees), loss, cost}, as of `circle`; `collapsed`: the loss
   * of a student that sends all noise to one point of the curve, as a scale for it. */
  function circleCurve({ deform = 0.1, count = 25, projected = true } = {}) {
    const theta = Array.from({ length: count }, (_, i) => (360 * i) / (count - 1));
    const nodes = even(NODES);
    const teacher = points(nodes, 0, deform, true);
    const found = { theta, loss: [], cost: [] };
    for (const degrees of theta) {
      const student = points(nodes, (degrees * Math.PI) / 180, deform, projected);
      let cost = 0;
      for (let i = 0; i < teacher.length; i += 1) cost += (student[i] - teacher[i]) ** 2 / NODES;
      found.loss.push(matchingLoss(teacher, student, LEVEL));
      found.cost.push(cost);
    }
    const one = onCurve(0, deform);
    found.collapsed = matchingLoss(teacher, teacher.map((_, i) => one[i % 2]), LEVEL);
    return found;
  }

  Object.assign(numerics, { circle, circleCurve, onCurve, matchingLoss });
})((globalThis.dmdlab ??= {}));
