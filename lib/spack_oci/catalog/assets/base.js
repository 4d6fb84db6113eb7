// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// The one global object of the page: its pieces of data, and how elements are made.
//
// What comes from a cache is foreign. It becomes text nodes and attribute values, never markup: nothing here, and in no
// other file, uses innerHTML and its like; the page's Content-Security-Policy forbids it besides (trusted types).
"use strict";

const spackOciCatalog = (() => {
  const directory = document.currentScript.src.replace(/[^/]*$/, "");
  const waiting = new Map(); // name -> {promise, resolve, reject}
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("spack-oci-pieces", { createScriptURL: checkedUrl })
    : { createScriptURL: checkedUrl };

  function checkedUrl(url) {
    const name = url.startsWith(directory) ? url.slice(directory.length) : "";
    if (!/^[a-z]+(-[0-9]+)?\.js$/.test(name)) throw new TypeError(`not a piece of this page: ${url}`);
    return url;
  }

  function entryOf(name) {
    if (!waiting.has(name)) {
      const entry = {};
      entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
      entry.promise.catch(() => {});
      waiting.set(name, entry);
    }
    return waiting.get(name);
  }

  // what each piece calls
  function receive(name, text) {
    entryOf(name).resolve(JSON.parse(text));
  }

  // The data of a piece, which is loaded when it is asked for first.
  function load(name) {
    const entry = entryOf(name);
    if (!entry.asked && name !== "summary") {
      entry.asked = true;
      const script = document.createElement("script");
      script.src = policy.createScriptURL(`${directory}${name}.js`);
      script.addEventListener("error", () => {
        waiting.delete(name);
        script.remove();
        entry.reject(new Error(`${name}.js cannot be loaded. If the page was published anew, load it again.`));
      });
      document.head.append(script);
    }
    return entry.promise;
  }

  function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
  }

  // an element; children are elements and texts
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  const route = (...parts) => "#/" + parts.map(encodeURIComponent).join("/");

  function size(count) {
    if (count === null || count === undefined || count < 0) return "unknown";
    if (count < 1000) return `${count} B`;
    for (const unit of ["kB", "MB", "GB"]) {
      count /= 1000;
      if (count < 999.95) return `${count.toFixed(1)} ${unit}`;
    }
    return `${(count / 1000).toFixed(1)} TB`;
  }

  // what an index of Spack's alone does not tell is left out of a sentence
  const sizeAfter = (separator, count) => (count > 0 ? `${separator}${size(count)}` : "");

  const number = (count) => count.toLocaleString("en");
  const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

  function announce(text) {
    document.getElementById("announcer").textContent = text;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (refused) {
      const area = el("textarea", { class: "unseen", "aria-hidden": "true", tabindex: "-1" });
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  // a command with a button that copies it
  function command(label, text, hint) {
    const state = el("span", { "aria-hidden": "true" }, "Copy");
    const button = el(
      "button",
      {
        type: "button",
        class: "copy",
        "aria-label": `Copy the commands for ${label}`,
        onclick: async () => {
          const done = await copy(text);
          state.textContent = done ? "Copied" : "Select it";
          announce(done ? `Copied the commands for ${label}` : "This browser does not copy: select the text");
          button.focus();
          setTimeout(() => (state.textContent = "Copy"), 2000);
        },
      },
      state,
    );
    return el(
      "div",
      { class: "command" },
      el("div", { class: "command-head" }, el("h3", {}, label), hint && el("span", { class: "muted" }, hint), button),
      el("pre", {}, el("code", {}, text)),
    );
  }

  const badge = (text, kind, title) => el("span", { class: `badge ${kind || ""}`, title }, text);

  return { receive, load, el, svg, route, size, sizeAfter, number, counted, announce, command, badge, views: new Map() };
})();
