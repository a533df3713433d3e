"use strict";
// A payload opened: its runs by id, their points decoded once, and for d = 2 the maps themselves.
(function (dmdlab) {
  const numerics = (dmdlab.numerics ??= {});
  const READS = 1;

  /** Opens a payload (parsed JSON). Throws an Error for one of another format. */
  function open(payload) {
    if (payload?.format !== READS) throw new Error(`a payload of format ${payload?.format}, expected ${READS}`);
    const runs = new Map(payload.runs.map((run) => [run.id, run]));
    const kept = new Map();
    function once(key, make) {
      if (!kept.has(key)) kept.set(key, make());
      return kept.get(key);
    }
    function run(id) {
      const found = runs.get(id);
      if (!found) throw new Error(`no run ${id}`);
      return found;
    }
    const unpacked = (packed) => (packed ? numerics.decode(packed).data : null);

    function points(id) {
      const own = run(id);
      const shared = payload.pairs[own.pairs];
      const of = (name) => once(`${own.pairs}/${name}`, () => unpacked(shared[name]));
      return {
        n: shared.n,
        noise: of("noise"),
        teacher: of("teacher"),
        oneStep: of("one_step"),
        reference: of("reference"),
        data: of("data"),
        student: once(`${id}/student`, () => unpacked(own.student)),
      };
    }

    function makeMaps(own) {
      const [law, shared] = [payload.laws[own.law], payload.pairs[own.pairs]];
      const spec = payload.networks[own.network];
      const [sigmaMax, solver] = [own.noise.sigma_max, own.flow.solver];
      const grid = numerics.karrasGrid(own.flow.steps, own.noise);
      const denoise = shared.teacher_network
        ? numerics.networkDenoiser(spec, unpacked(shared.teacher_network))
        : numerics.exactDenoiser(law.exact);
      const last = own.moments.length - 1;
      function network(name, moment) {
        const packed = own.moments[moment]?.[name];
        return packed
          ? once(`${own.id}/${name}/${moment}`, () => numerics.networkDenoiser(spec, unpacked(packed)))
          : null;
      }
      return {
        sigmaMax,
        grid,
        moments: own.moments.map(({ iteration }) => iteration),
        hasFake: (moment = last) => Boolean(own.moments[moment]?.fake),
        denoise,
        path: (z) => numerics.path(denoise, z, grid, solver),
        teacher: (z) => numerics.flow(denoise, z, grid, solver),
        oneStep: (z) => denoise(z, sigmaMax),
        student: (z, moment = last) => {
          const turned = numerics.applyTurn(own.turn, z);
          const scale = own.level / sigmaMax;
          return network("student", moment)(scale === 1 ? turned : turned.map((v) => scale * v), own.level);
        },
        fake: (x, sigma, moment = last) => network("fake", moment)?.(x, sigma) ?? null,
      };
    }

    /** The maps of a run in the plane; null where no network travels (`why_no_network`). */
    function maps(id) {
      const own = run(id);
      return own.network && own.moments.length ? once(`${id}/maps`, () => makeMaps(own)) : null;
    }

    return { payload, run, points, maps };
  }

  Object.assign(numerics, { open });
})((globalThis.dmdlab ??= {}));
