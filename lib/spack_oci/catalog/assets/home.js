// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// Packages: the search and its results.
"use strict";

spackOciCatalog.views.set("packages", (() => {
  const { el, route, size, sizeAfter, number, counted, announce, badge, SIGNED } = spackOciCatalog;
  const PAGE = 60;

  function show({ table, summary, parameters }) {
    const filters = { arches: null, compiler: -1, license: -1, target: "", os: "" };
    let shown = PAGE;
    let found = [];
    const results = el("ul", { class: "results", "aria-label": "Packages" });
    const status = el("p", { class: "status", id: "status" });
    const more = el("button", { type: "button", class: "more", onclick: showMore }, "Show more");
    const input = el("input", {
      id: "search", type: "search", autocomplete: "off", autocapitalize: "off", spellcheck: "false",
      placeholder: "hdf5 +mpi %gcc@13 target=zen3",
      "aria-describedby": "search-help status", oninput: changed, onkeydown: keyInSearch,
    });
    input.value = parameters.get("q") || "";
    const selects = [
      select("Compiler", unique(summary.compilers), (value) => (filters.compiler = summary.compilers.indexOf(value))),
      select("Target", unique(summary.arches.map((arch) => arch[2])), (value) => restrict("target", value)),
      select("Operating system", unique(summary.arches.map((arch) => arch[1])), (value) => restrict("os", value)),
      select("License", unique(summary.licenses), (value) => (filters.license = summary.licenses.indexOf(value))),
    ].filter(Boolean);

    function restrict(key, value) {
      filters[key] = value;
      filters.arches = !filters.target && !filters.os ? null : summary.arches.map(
        ([, os, target]) => (!filters.target || target === filters.target) && (!filters.os || os === filters.os),
      );
    }

    function select(label, values, choose) {
      if (values.length < 2) return null;
      const id = `filter-${label.toLowerCase().replace(/ /g, "-")}`;
      const options = values.map((value) => el("option", { value }, value));
      const box = el("select", { id, onchange: () => { choose(box.value); changed(); } },
        el("option", { value: "" }, "Any"), options);
      return el("div", { class: "field" }, el("label", { for: id }, label), box);
    }

    function keyInSearch(event) {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        results.querySelector("a")?.focus();
      } else if (event.key === "Escape" && input.value) {
        event.preventDefault();
        input.value = "";
        changed();
      }
    }

    function keyInResults(event) {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      const links = [...results.querySelectorAll("a")];
      const next = links.indexOf(document.activeElement) + step;
      event.preventDefault();
      if (next < 0) input.focus();
      else links[next]?.focus();
    }
    results.addEventListener("keydown", keyInResults);

    let timer = 0;
    function changed() {
      shown = PAGE;
      const query = input.value.trim();
      history.replaceState(null, "", query ? `#/?q=${encodeURIComponent(query)}` : "#/");
      refresh();
      clearTimeout(timer);
      timer = setTimeout(() => announce(status.textContent), 600);
    }

    function refresh() {
      found = table.search(input.value, filters);
      render();
    }

    function render() {
      const builds = found.reduce((sum, group) => sum + group.places.length, 0);
      const bytes = found.reduce((sum, group) => sum + group.bytes, 0);
      const some = found.length
        ? `${counted(found.length, "package")} in ${counted(builds, "build")}${sizeAfter(", ", bytes)}`
        : summary.packages ? "Nothing matches" : "There are no packages in this cache";
      status.textContent = table.loaded ? some : `${some}; ${number(table.rowsLoaded)} of ${number(summary.nodes)} loaded`;
      results.replaceChildren(...found.slice(0, shown).map((group) => item(table, group)));
      more.hidden = found.length <= shown;
      more.textContent = `Show ${number(Math.min(PAGE, found.length - shown))} more of ${number(found.length - shown)}`;
    }

    function showMore() {
      const before = shown;
      shown += PAGE;
      render();
      results.children[before]?.querySelector("a").focus();
    }

    // pieces that come together are searched together
    let scheduled = false;
    const onData = () => {
      if (scheduled) return;
      scheduled = true;
      setTimeout(() => {
        scheduled = false;
        refresh();
      });
    };
    table.listeners.add(onData);
    refresh();
    const page = el("div", {},
      el("section", { class: "hero", "aria-label": "Search" },
        el("h1", { tabindex: "-1" }, summary.title === summary.url ? "Packages" : summary.title),
        el("p", { class: "url" }, el("code", {}, summary.url)),
        stats(summary),
        el("form", { role: "search", class: "search", onsubmit: (event) => event.preventDefault() },
          el("label", { for: "search" }, "Search packages"),
          el("div", { class: "search-box" }, magnifier(), input, el("kbd", { "aria-hidden": "true" }, "/")),
          el("p", { id: "search-help", class: "hint" },
            "By name, ", el("code", {}, "@version"), ", ", el("code", {}, "+variant"), ", ", el("code", {}, "%compiler"), ", ",
            el("code", {}, "target="), ", ", el("code", {}, "license="), " or ", el("code", {}, "/hash"), "; words narrow it down."),
          selects.length > 0 && el("details", { class: "filter-box", open: window.innerWidth > 640 },
            el("summary", {}, "Filters"), el("div", { class: "filters" }, selects)))),
      el("section", { "aria-label": "Results" }, status, results, more));
    return { title: "Packages", page, focus: null, leave: () => table.listeners.delete(onData) };
  }

  const unique = (values) => [...new Set(values)].filter(Boolean).sort((one, other) => one.localeCompare(other, "en", { numeric: true }));

  function magnifier() {
    const { svg } = spackOciCatalog;
    return svg("svg", { viewBox: "0 0 20 20", class: "magnifier", "aria-hidden": "true" },
      svg("circle", { cx: 8.5, cy: 8.5, r: 5.5, fill: "none" }), svg("path", { d: "M13 13l5 5" }));
  }

  function stats(summary) {
    const values = [
      ["Packages", number(summary.names)],
      ["Builds", number(summary.packages)],
      ["Stored", summary.bytes + summary.imageBytes > 0 ? size(summary.bytes + summary.imageBytes) : "–"],
      ["Images", number(summary.images)],
      ["Signed", summary.bytes ? `${Math.floor((100 * summary.signed) / summary.packages)} %` : "–"],
    ];
    return el("dl", { class: "stats" }, values.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  function item(table, group) {
    const rows = group.places.slice(0, 200).map((place) => table.row(place));
    const all = (key) => [...new Set(rows.map((row) => row[key]).filter(Boolean))];
    const versions = all("version");
    const single = group.places.length === 1;
    const few = (values) => (values.length > 2 ? `${values.slice(0, 2).join(", ")} +${values.length - 2}` : values.join(", "));
    const about = [few(all("compiler").map((compiler) => `%${compiler.split(" ").join(" %")}`)), few(all("target")), few(all("os")), few(all("license"))];
    return el("li", {},
      el("a", { class: "result", href: single ? route("build", rows[0].hash) : route("package", group.name) },
        el("span", { class: "result-name" }, group.name),
        el("span", { class: "versions" },
          versions.slice(0, 4).map((version) => el("span", { class: "chip" }, version)),
          versions.length > 4 && el("span", { class: "muted" }, ` +${versions.length - 4}`),
          rows.every((row) => row.flags & SIGNED) && badge("signed", "good")),
        el("span", { class: "result-about" }, about.filter(Boolean).join(" · ")),
        el("span", { class: "result-size" }, rows.some((row) => row.size >= 0) ? size(group.bytes) : ""),
        el("span", { class: "result-count" }, counted(group.places.length, "build"))));
  }

  return { section: "packages", show };
})());
