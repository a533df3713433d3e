"use strict";
/* One state for the whole page: scenes read it, controls set it, whoever follows a key is called once a frame. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** @param rules of `page.address`; `first` a state with every key. */
  function open(rules, first) {
    let state = { ...first };
    const followers = [];
    const changed = new Set();
    const anyone = [];
    let waiting = false;

    function deliver() {
      waiting = false;
      const keys = new Set(changed);
      changed.clear();
      for (const { wanted, work } of followers) if (wanted.some((key) => keys.has(key))) work();
      for (const work of anyone) work(keys);
    }

    function set(change) {
      for (const [key, value] of Object.entries(change)) {
        if (!Object.hasOwn(rules, key)) throw new Error(`the state has no ${key}`);
        if (JSON.stringify(state[key]) === JSON.stringify(value)) continue;
        state = { ...state, [key]: value };
        changed.add(key);
      }
      if (changed.size > 0 && !waiting) {
        waiting = true;
        requestAnimationFrame(deliver);
      }
    }

    return {
      get: (key) => state[key],
      all: () => state,
      set,
      /** Calls `work` when one of the keys changes, and once at once. */
      follow(wanted, work, now = true) {
        followers.push({ wanted, work });
        if (now) work();
      },
      /** Calls `work(keys)` after every change. */
      watch: (work) => anyone.push(work),
      address: () => page.address.write(state, rules, ["seed", "draw"]),
    };
  }

  page.store = { open };
})((globalThis.dmdlab ??= {}));
