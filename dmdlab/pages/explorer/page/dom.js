"use strict";
/* Elements made of plain values. Text is set as text only; nothing here parses HTML. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});
  const SVG = "http://www.w3.org/2000/svg";

  /** An element: attributes by name, `on...` as listeners, `text` as text; children are nodes or strings. */
  function el(name, attributes = {}, ...children) {
    return fill(document.createElement(name), attributes, children);
  }

  /** The same in SVG. */
  function svg(name, attributes = {}, ...children) {
    return fill(document.createElementNS(SVG, name), attributes, children);
  }

  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (key === "text") node.textContent = String(value);
      else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (key === "value" || key === "checked" || key === "disabled" || key === "hidden") node[key] = value;
      else node.setAttribute(key, value === true ? "" : String(value));
    }
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** Replaces what a node holds. */
  function put(node, ...children) {
    node.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  }

  /** A sentence of parts: strings, and [class, text] for a coloured word. */
  function sentence(...parts) {
    return parts.map((part) => (Array.isArray(part) ? el("span", { class: part[0], text: part[1] }) : part));
  }

  /** Sets text only where it changed, so that a screen reader is not told the same twice. */
  function say(node, text) {
    if (node.textContent !== text) node.textContent = text;
  }

  /** Calls `work` at most once a frame. */
  function oncePerFrame(work) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        work();
      });
    };
  }

  /** Calls `work` when `wait` milliseconds have passed without another call. */
  function afterQuiet(work, wait) {
    let timer = 0;
    return (...rest) => {
      clearTimeout(timer);
      timer = setTimeout(() => work(...rest), wait);
    };
  }

  /** Whether the reader asked for little motion. */
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  page.dom = { el, svg, put, sentence, say, oncePerFrame, afterQuiet, still };
})((globalThis.dmdlab ??= {}));
