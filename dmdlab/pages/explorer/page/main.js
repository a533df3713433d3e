"use strict";
/* Opens the payload, reads the address, starts every scene, and keeps the address in step with what is shown. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const SCENES = [
    "opening",
    "predict",
    "noise",
    "training",
    "fields",
    "cause",
    "dimension",
    "remap",
    "circle",
    "pictures",
  ];

  page.scrollTo = function (id) {
    document.getElementById(id)?.scrollIntoView({ behavior: page.dom.still() ? "auto" : "smooth", block: "start" });
  };

  /** A link's press that scrolls without touching the address, which holds the state. */
  page.jump = (id) => (event) => {
    event.preventDefault();
    page.scrollTo(id);
  };

  async function start() {
    const { dom, controls } = page;
    page.theme.start();
    const payload = JSON.parse(document.getElementById("payload").textContent);
    const model = page.model.open(payload);
    const rules = model.rules();
    const { state, problems } = page.address.read(location.hash, rules);
    const store = page.store.open(rules, state);
    dmdlab.page.now = { model, store };

    const told = document.querySelector("[data-problems]");
    const complain = (sentences) => {
      told.hidden = sentences.length === 0;
      dom.put(
        told,
        ...sentences.map((text) => dom.el("p", { text })),
        sentences.length > 0 ? controls.button(null, "Close", () => complain([]), { class: "quiet" }) : null,
      );
    };
    complain(problems);
    document.querySelector("[data-skip]").addEventListener("click", (event) => {
      page.jump(model.pictured ? "pictures" : "noise")(event);
      document.querySelector("#noise canvas")?.focus({ preventScroll: true });
    });

    const tour = page.tour.start(model, store);
    tools(model, store, tour);
    const broken = [];
    for (const name of SCENES) {
      await new Promise((done) => setTimeout(done)); // what is ready is seen while the rest is made
      try {
        page[name].start(model, store);
      } catch (error) {
        broken.push(`The figure “${name}” cannot be drawn from this file: ${error.message}.`);
        console.error(error);
      }
    }
    if (broken.length > 0) complain([...problems, ...broken]);
    page.about.glossary(model);
    page.about.about(model, store);
    controls.hiding(store);

    let own = location.hash;
    const write = dom.afterQuiet(() => {
      own = store.address();
      if (own !== location.hash) readdress(own);
    }, 400);
    store.watch(write);
    addEventListener("hashchange", () => {
      if (location.hash === own) return;
      const again = page.address.read(location.hash, rules);
      complain(again.problems);
      store.set(again.state);
    });
    if (state.tour > 0) page.scrollTo(page.tour.steps(model)[Math.min(state.tour, tour.count) - 1].at);
    document.documentElement.dataset.ready = "";
  }

  function tools(model, store, tour) {
    const { dom, controls } = page;
    const seeds = model.axis("seed")?.values ?? [];
    const copied = dom.el("span", { role: "status", class: "soft" });
    const link = controls.button("link", "Copy a link to this state", async () => {
      const address = location.href.replace(/#.*$/, "") + store.address();
      try {
        await navigator.clipboard.writeText(address);
        copied.textContent = "Copied.";
      } catch {
        copied.textContent = "It is in the address bar.";
        readdress(store.address());
      }
      setTimeout(() => (copied.textContent = ""), 4000);
    });
    dom.put(
      document.querySelector("[data-tools]"),
      dom.el("strong", { text: "dmdlab explorer" }),
      dom.el("span", { class: "spacer" }),
      controls.button("tour", "Guided tour", tour.begin, { class: "main" }),
      seeds.length > 1
        ? labelled(
            "Seed of the runs",
            controls.select(store, {
              name: "seed",
              key: "seed",
              label: "Seed of the runs",
              values: seeds.map((seed) => [seed, String(seed)]),
            }).node,
          )
        : null,
      labelled(
        "Page's own draws",
        controls.typed(store, {
          name: "draw",
          key: "draw",
          label: "Seed of the page's own draws",
          hint: "Another number draws other questions and other noise in the fields; the runs stay as they are.",
          low: 0,
          high: 99999,
        }).node,
      ),
      link,
      copied,
    );
  }

  /** Puts a state into the address bar without a step in the history, where a browser lets a file do so. */
  function readdress(hash) {
    try {
      history.replaceState(null, "", hash);
    } catch {
      location.hash = hash;
    }
  }

  /** A control in a bar, its label beside it. */
  function labelled(words, node) {
    node.classList.add("inline");
    node.querySelector(".label").textContent = words;
    return node;
  }

  if (typeof document !== "undefined") {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  }
})((globalThis.dmdlab ??= {}));
