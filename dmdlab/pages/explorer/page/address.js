"use strict";
/* The state of the page as the part of its address behind '#', read with suspicion: unknown keys, values that are none
   and values out of range are mended, and each mending is a sentence. Pure functions of text; no document. */
(function (dmdlab) {
  const page = (dmdlab.page ??= {});

  /** Kinds of values: how one is read (null: it is none), written, and its default. */
  const whole = (low, high, otherwise) => ({ kind: "number", whole: true, low, high, otherwise });
  const real = (low, high, otherwise, digits = 3) => ({ kind: "number", whole: false, low, high, otherwise, digits });
  const choice = (values, otherwise) => ({ kind: "choice", values: values.map(String), otherwise: String(otherwise) });
  const flag = (otherwise = false) => ({ kind: "flag", otherwise });
  const numbers = (count, low, high, most, digits = 3) => ({
    kind: "numbers",
    count,
    low,
    high,
    most,
    digits,
    otherwise: [],
  });
  const names = (values) => ({ kind: "names", values, otherwise: [] });

  const round = (value, digits) => Number(value.toFixed(digits));

  function clamped(key, text, rule, problems) {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value)) {
      problems.push(`${key} = ${short(text)} is no number; ${rule.otherwise} is shown.`);
      return rule.otherwise;
    }
    const near = Math.min(rule.high, Math.max(rule.low, rule.whole ? Math.round(value) : round(value, rule.digits)));
    if (value < rule.low || value > rule.high)
      problems.push(`${key} = ${short(text)} is outside ${rule.low} to ${rule.high}; ${near} is shown.`);
    return near;
  }

  function listOf(key, text, rule, problems) {
    const groups = text === "" ? [] : text.split(";");
    const kept = groups.slice(0, rule.most);
    if (groups.length > rule.most)
      problems.push(`${key} holds ${groups.length} entries; the first ${rule.most} are shown.`);
    const found = [];
    for (const group of kept) {
      const values = group.split(",").map(Number);
      if (values.length !== rule.count || !values.every(Number.isFinite)) {
        problems.push(`${key} = ${short(group)} is not ${rule.count} numbers; it is left out.`);
        continue;
      }
      const near = values.map((value) => round(Math.min(rule.high, Math.max(rule.low, value)), rule.digits));
      if (values.some((value) => value < rule.low || value > rule.high))
        problems.push(`${key} = ${short(group)} is outside ${rule.low} to ${rule.high}; ${near.join(",")} is shown.`);
      found.push(near);
    }
    return found;
  }

  const READ = {
    number: clamped,
    numbers: listOf,
    choice(key, text, rule, problems) {
      if (rule.values.includes(text)) return text;
      const some = rule.values.slice(0, 6).join(", ");
      problems.push(
        `${key} = ${short(text)} is not in this file (${some}); ${rule.otherwise || "the first"} is shown.`,
      );
      return rule.otherwise;
    },
    flag(key, text, rule, problems) {
      if (text !== "0" && text !== "1")
        problems.push(`${key} = ${short(text)} is neither 0 nor 1; it is left as it was.`);
      return text === "1" ? true : text === "0" ? false : rule.otherwise;
    },
    names(key, text, rule, problems) {
      const asked = text.split(",").filter((name) => name !== "");
      const unknown = asked.filter((name) => !rule.values.includes(name));
      if (unknown.length > 0)
        problems.push(
          `${key} names ${short(unknown.join(", "))}, which is no control; there are ${rule.values.join(", ")}.`,
        );
      return rule.values.filter((name) => asked.includes(name));
    },
  };

  /** A strange value, cut so that it cannot fill the screen. */
  function short(text) {
    return text.length > 40 ? `${text.slice(0, 40)}...` : text;
  }

  /** The state that an address asks for: {state, problems}; every key of `rules` is in the state. */
  function read(text, rules) {
    const state = {};
    const problems = [];
    for (const [key, rule] of Object.entries(rules)) state[key] = rule.otherwise;
    for (const part of text.replace(/^#/, "").split("&")) {
      if (part === "") continue;
      const cut = part.indexOf("=");
      const key = decoded(cut < 0 ? part : part.slice(0, cut));
      const value = cut < 0 ? "" : decoded(part.slice(cut + 1));
      if (!Object.hasOwn(rules, key)) problems.push(`The address names ${short(key)}, which this page does not know.`);
      else state[key] = READ[rules[key].kind](key, value, rules[key], problems);
    }
    return { state, problems };
  }

  function decoded(text) {
    try {
      return decodeURIComponent(text.replaceAll("+", " "));
    } catch {
      return text;
    }
  }

  /** The address of a state: what differs from the defaults, and the keys that are always told. */
  function write(state, rules, always = []) {
    const parts = [];
    for (const [key, rule] of Object.entries(rules)) {
      const value = written(state[key], rule);
      if (value !== written(rule.otherwise, rule) || always.includes(key)) parts.push(`${key}=${encoded(value)}`);
    }
    return parts.length > 0 ? `#${parts.join("&")}` : "";
  }

  function written(value, rule) {
    if (rule.kind === "flag") return value ? "1" : "0";
    if (rule.kind === "numbers")
      return value.map((group) => group.map((x) => round(x, rule.digits)).join(",")).join(";");
    if (rule.kind === "names") return value.join(",");
    return rule.kind === "number" && !rule.whole ? String(round(value, rule.digits)) : String(value);
  }

  const encoded = (value) => encodeURIComponent(value).replaceAll("%2C", ",").replaceAll("%3B", ";");

  page.address = { whole, real, choice, flag, numbers, names, read, write };
})((globalThis.dmdlab ??= {}));
