"use strict";
/* Controls, each bound to one key of the state and to a name by which an address can hide it. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** A slider. options: `name`, `key`, `label`, `low`, `high`, `step`, `shown(value)`; `to`, `from` bend its scale. */
  function slider(store, options) {
    const { el, say } = page.dom;
    const { to = (value) => value, from = (place) => place, shown = page.words.number } = options;
    const output = el("span", { class: "output" });
    const input = el("input", {
      type: "range",
      min: options.low,
      max: options.high,
      step: options.step,
      "aria-label": options.label,
      oninput: () => {
        options.touched?.();
        store.set({ [options.key]: from(Number(input.value)) });
      },
    });
    const node = el(
      "div",
      { class: "control slider", "data-control": options.name },
      el("span", { class: "label" }, output, options.label),
      input,
    );
    store.follow([options.key, ...(options.also ?? [])], () => {
      const value = store.get(options.key);
      const place = String(to(value));
      if (Number(input.value) !== Number(place)) input.value = place;
      say(output, shown(value));
      input.setAttribute("aria-valuetext", shown(value));
    });
    return { node, input };
  }

  /** One of a few values as a row of radio buttons. options: `name`, `key`, `label`, `values` [[value, words]], `choose`. */
  function choice(store, options) {
    const { el } = page.dom;
    const group = `${options.name}-${options.key}`;
    const inputs = options.values.map(([value, words]) => {
      const input = el("input", {
        type: "radio",
        name: group,
        value: String(value),
        onchange: () => (options.choose ? options.choose(String(value)) : store.set({ [options.key]: String(value) })),
      });
      return [input, el("label", {}, input, words)];
    });
    const node = el(
      "fieldset",
      { class: "control", "data-control": options.name },
      el("legend", { text: options.label }),
      el("div", { class: "choice" }, ...inputs.map(([, label]) => label)),
    );
    store.follow([options.key], () => {
      for (const [input, label] of inputs) {
        input.checked = input.value === String(store.get(options.key));
        label.classList.toggle("chosen", input.checked);
      }
    });
    return { node };
  }

  /** An input that holds its key's value, below its label. */
  function captioned(store, options, input) {
    const { el } = page.dom;
    store.follow([options.key], () => (input.value = String(store.get(options.key))));
    const label = el("span", { class: "label", text: options.label });
    return { node: el("div", { class: "control", "data-control": options.name }, label, input) };
  }

  /** A list to choose from. */
  function select(store, options) {
    const { el } = page.dom;
    const input = el(
      "select",
      { "aria-label": options.label, onchange: () => store.set({ [options.key]: input.value }) },
      ...options.values.map(([value, words]) => el("option", { value: String(value), text: words })),
    );
    return captioned(store, options, input);
  }

  /** On or off. */
  function toggle(store, options) {
    const { el } = page.dom;
    const input = el("input", { type: "checkbox", onchange: () => store.set({ [options.key]: input.checked }) });
    store.follow([options.key], () => (input.checked = store.get(options.key)));
    return { node: el("label", { class: "control toggle", "data-control": options.name }, input, options.label) };
  }

  function button(name, words, press, attributes = {}) {
    return page.dom.el("button", { type: "button", "data-control": name, onclick: press, text: words, ...attributes });
  }

  /** A whole number that is typed. options: `name`, `key`, `label`, `low`, `high`, and `hint` for who waits over it. */
  function typed(store, options) {
    const { el } = page.dom;
    const input = el("input", {
      type: "number",
      min: options.low,
      max: options.high,
      step: 1,
      "aria-label": options.label,
      title: options.hint,
      onchange: () => {
        const value = Math.min(options.high, Math.max(options.low, Math.round(Number(input.value) || 0)));
        input.value = String(value);
        store.set({ [options.key]: value });
      },
    });
    return captioned(store, options, input);
  }

  /** Hides what the address asks to hide, everywhere on the page. */
  function hiding(store) {
    store.follow(["hide"], () => {
      const hidden = store.get("hide");
      for (const node of document.querySelectorAll("[data-control]"))
        node.toggleAttribute("data-off", hidden.includes(node.dataset.control));
    });
  }

  page.controls = { slider, choice, select, toggle, button, typed, hiding };
})((globalThis.dmdlab ??= {}));
