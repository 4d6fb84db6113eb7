// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// Which view the address asks for: #/, #/package/NAME, #/build/HASH, #/images, #/image/TAG, #/sizes.
"use strict";

(async () => {
  const { el, load, views, missing, number, announce } = spackOciCatalog;
  const main = document.getElementById("main");
  let leave = () => {};
  let navigation = 0;

  function address() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    try {
      const [name, ...parts] = path.split("/").map(decodeURIComponent);
      return { name: name || "packages", parts, parameters: new URLSearchParams(query) };
    } catch (malformed) {
      return { name: "", parts: [], parameters: new URLSearchParams() };
    }
  }

  async function render(first) {
    const current = ++navigation;
    const { name, parts, parameters } = address();
    const view = views.get(name);
    let result;
    try {
      result = view ? await view.show({ table, summary, parts, parameters }) : missing("There is no such page.");
    } catch (error) {
      result = { title: "Failure", page: el("div", {}, el("h1", { tabindex: "-1" }, "This cannot be shown"), el("p", { class: "notice", role: "alert" }, error.message)) };
    }
    if (current !== navigation) return; // another one was asked for meanwhile
    leave();
    leave = result.leave || (() => {});
    main.replaceChildren(result.page);
    document.title = name === "packages" ? summary.title : `${result.title} – ${summary.title}`;
    for (const link of document.querySelectorAll("nav [data-section]")) {
      if (view && link.dataset.section === view.section) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (!first) {
      window.scrollTo(0, 0);
      main.querySelector("h1")?.focus({ preventScroll: true });
      announce(document.title);
    }
    await result.shown?.();
    document.documentElement.dataset.view = location.hash || "#/";
  }

  const summary = await load("summary");
  const table = new spackOciCatalog.Table(summary);
  table.complete.catch((error) => main.prepend(el("p", { class: "notice", role: "alert" }, error.message)));
  document.getElementById("brand").textContent = summary.title;
  document.getElementById("about").textContent = `${number(summary.packages)} builds of ${summary.url}, index ${summary.index.slice(0, 19)}. Written by spack-oci; nothing on this page is loaded from elsewhere.`;
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address is that of the view
    main.focus();
  });
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (address().name !== "packages") {
      location.hash = "#/";
      window.addEventListener("hashchange", () => setTimeout(() => document.getElementById("search")?.focus(), 50), { once: true });
    } else document.getElementById("search")?.focus();
  });
  window.addEventListener("hashchange", () => render(false));
  await render(true);
})();
