// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// One package: its builds side by side; and one build: what is known of it, and the commands to use it.
"use strict";

(() => {
  const { el, route, size, sizeAfter, number, counted, command, badge, graph, views, CACHED, SIGNED, SBOM, EXTERNAL } = spackOciCatalog;
  const FEW = 4;

  const crumbs = (...links) =>
    el("nav", { class: "crumbs", "aria-label": "Breadcrumb" },
      el("ol", {}, links.map(([text, href]) => el("li", {}, href ? el("a", { href }, text) : el("span", { "aria-current": "page" }, text)))));

  const digest = (value) => el("code", { class: "digest", title: value }, value);

  function flagsOf(row) {
    return [
      row.flags & EXTERNAL ? badge("external", "", "provided by the system, not built by Spack") : null,
      !(row.flags & CACHED) ? badge("not in this cache", "warn") : null,
      row.flags & SIGNED ? badge("signed", "good") : null,
      row.flags & SBOM ? badge("SBOM", "good") : null,
    ];
  }

  // "+mpi" -> ["mpi", "+mpi"], "api=v18" -> ["api", "v18"]
  function variant(token) {
    if (/^[+~]/.test(token)) return [token.slice(1), token];
    const equals = token.indexOf("=");
    return [token.slice(0, equals), token.slice(equals + 1)];
  }

  // [heading, [value of each build], kind]
  function comparison(table, rows, details) {
    const lines = [
      ["Version", rows.map((row) => row.version)],
      ["Compiler", rows.map((row) => row.compiler)],
      ["Target", rows.map((row) => row.target)],
      ["Operating system", rows.map((row) => row.os)],
      ["License", rows.map((row) => row.license)],
      ["Size", rows.map((row) => (row.size >= 0 ? size(row.size) : ""))],
      ["With dependencies", details.map(({ closure }) => (closure ? sizeAfter("", closure[1]) : ""))],
    ];
    const variants = rows.map((row) => new Map(row.variants.map(variant)));
    for (const name of names(variants)) lines.push([name, variants.map((one) => one.get(name) || ""), "variant"]);
    const needs = details.map((one) => {
      const found = new Map();
      for (const [place] of one.needs || []) {
        const { name, version, hash } = table.row(place);
        found.set(name, [found.get(name), `${version} /${hash.slice(0, 7)}`].filter(Boolean).join(", "));
      }
      return found;
    });
    for (const name of names(needs)) lines.push([name, needs.map((one) => one.get(name) || ""), "dependency"]);
    return lines;
  }

  const names = (maps) => [...new Set(maps.flatMap((map) => [...map.keys()]))].sort();

  function compareTable(lines, rows, onlyDifferent) {
    const groups = { "": "General", variant: "Variants and flags", dependency: "Direct dependencies" };
    let last = null;
    const body = [];
    for (const [name, values, kind = ""] of lines) {
      const differs = values.some((value) => value !== values[0]);
      if (values.every((value) => !value) || (onlyDifferent && !differs)) continue;
      if (kind !== last) {
        body.push(el("tr", { class: "group" }, el("th", { colspan: rows.length + 1, scope: "colgroup" }, el("span", {}, groups[kind]))));
        last = kind;
      }
      body.push(el("tr", { class: differs ? "differs" : "" },
        el("th", { scope: "row" }, name, differs && el("span", { class: "unseen" }, ", differs")),
        values.map((value) => el("td", { class: value !== values[0] ? "other" : "" }, value || "–"))));
    }
    const head = el("tr", {}, el("th", { scope: "col" }, el("span", { class: "unseen" }, "Property")),
      rows.map((row) => el("th", { scope: "col" }, el("a", { href: route("build", row.hash) }, `/${row.hash.slice(0, 7)}`))));
    if (!body.length) body.push(el("tr", {}, el("td", { colspan: rows.length + 1 }, "Nothing that is shown here differs between these builds.")));
    return el("table", { class: "compare" },
      el("caption", { class: "unseen" }, "Builds side by side; highlighted: other than in the first"),
      el("thead", {}, head), el("tbody", {}, body));
  }

  async function showPackage({ table, summary, parts: [name] }) {
    await table.complete;
    const places = table.named(name);
    if (!places.length) return missing(`There is no package ${name} in this cache.`);
    const rows = places.map((place) => table.row(place));
    const chosen = new Set(rows.slice(0, FEW).map((row) => row.hash));
    const frame = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Builds side by side" });
    const only = el("input", { type: "checkbox", id: "only", onchange: update });
    only.checked = rows.length > 1;

    async function update() {
      const compared = rows.filter((row) => chosen.has(row.hash));
      const details = await Promise.all(compared.map((row) => table.details(row.place)));
      frame.replaceChildren(compareTable(comparison(table, compared, details), compared, only.checked));
    }

    const list = el("ul", { class: "builds" }, rows.slice(0, 500).map((row) => {
      const box = el("input", { type: "checkbox", "aria-label": `Compare /${row.hash.slice(0, 7)}`, onchange: () => {
        chosen[box.checked ? "add" : "delete"](row.hash);
        update();
      } });
      box.checked = chosen.has(row.hash);
      return el("li", {}, box, el("a", { class: "build", href: route("build", row.hash) },
        el("span", { class: "chip" }, row.version), el("code", {}, `/${row.hash.slice(0, 7)}`),
        el("span", { class: "muted grow" }, [row.compiler && `%${row.compiler.split(" ").join(" %")}`, row.target, row.os].filter(Boolean).join(" · ")),
        row.flags & SIGNED ? badge("signed", "good") : null,
        el("span", { class: "result-size" }, row.size >= 0 ? size(row.size) : "")));
    }));
    await update();
    const bytes = rows.reduce((sum, row) => sum + Math.max(0, row.size), 0);
    const page = el("div", {},
      crumbs(["Packages", "#/"], [name]),
      el("h1", { tabindex: "-1" }, name),
      el("p", { class: "lead" }, `${counted(rows.length, "build")}${sizeAfter(", in all ", bytes)}. License: ${[...new Set(rows.map((row) => row.license || "not recorded"))].join("; ")}.`),
      el("section", { class: "card" },
        el("div", { class: "card-head" }, el("h2", {}, "Side by side"),
          el("div", { class: "field inline" }, only, el("label", { for: "only" }, "Only what differs"))),
        el("p", { class: "hint" }, "The builds that are ticked below; highlighted is what is other than in the first."), frame),
      el("section", { class: "card" }, el("h2", {}, "Builds"), list,
        rows.length > 500 && el("p", { class: "hint" }, `${number(rows.length - 500)} more: narrow the search down to see them.`)));
    return { title: name, page };
  }

  function commands(summary, row, details) {
    const install = `${row.name}/${row.hash}`;
    return el("section", { class: "card" }, el("h2", {}, "Use it"),
      command("Spack", `spack mirror add cache ${summary.quotedUrl}\nspack install --cache-only ${install}`, "with spack-oci, or for gzip layers without"),
      command("podman", `podman run --rm -it ${summary.imagePrefix}${details.tag}`, "it needs a base image to run in"),
      command("spack-oci", `spack-oci install ${summary.quotedUrl} ${install} --store ~/sw`, "no Spack needed"));
  }

  function facts(row, details) {
    const closure = details.closure;
    const lines = [
      ["Hash", digest(row.hash)],
      ["Architecture", `${row.platform}-${row.os}-${row.target}`],
      ["Compiler", row.compiler || "none"],
      ["License", row.license || "not recorded"],
      ["Repository", details.namespace],
      ["External", details.external],
      ["Download", row.flags & CACHED && size(row.size)],
      ["Unpacked", details.unpacked && size(details.unpacked)],
      ["To run it", closure && `${counted(closure[0], "package")} of this cache${sizeAfter(", ", closure[1])}`],
      ["Signature", row.flags & CACHED && (details.keys ? `by ${details.keys.join(", ")}; not verified by this page` : row.flags & SIGNED ? "yes; not verified by this page" : "none known to the index")],
      ["SBOM", row.flags & CACHED && (details.sbom ? digest(details.sbom) : "none known to the index")],
      ["Built in", details.prefixLength && `a prefix of ${details.prefixLength} characters`],
      ["Spliced from", details.splicedFrom && el("a", { href: route("build", details.splicedFrom) }, `/${details.splicedFrom.slice(0, 7)}`)],
      ["Pushed by", details.pusher],
      ["Tag", details.tag && digest(details.tag)],
      ["Manifest", details.manifest && digest(details.manifest)],
      ["Layer", details.layer && digest(details.layer)],
      ["Layer type", details.layerType],
    ];
    return el("dl", { class: "facts" }, lines.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  function links(table, heading, entries, total) {
    if (!entries.length) return null;
    return el("details", { class: "list" },
      el("summary", {}, `${heading} (${number(total)})`),
      el("ul", {}, entries.map(([place, note]) => {
        const row = table.row(place);
        return el("li", {}, el("a", { href: route("build", row.hash) }, `${row.name}@${row.version}`), " ", el("code", { class: "muted" }, `/${row.hash.slice(0, 7)}`), note && el("span", { class: "muted" }, ` ${note}`));
      })),
      total > entries.length && el("p", { class: "hint" }, `The first ${number(entries.length)} are listed.`));
  }

  async function showBuild({ table, summary, parts: [hash] }) {
    await table.complete;
    const place = table.find(hash);
    if (place < 0) return missing(`There is no build /${hash} in this cache.`);
    const row = table.row(place);
    const details = await table.details(place);
    const others = table.named(row.name).length;
    const drawing = graph.section(table, place);
    const needs = (details.needs || []).map(([to, mask, virtuals]) => [to, [graph.types(mask), virtuals && `as ${virtuals}`].filter(Boolean).join("; ")]);
    const short = `/${row.hash.slice(0, 7)}`;
    const page = el("div", {},
      crumbs(["Packages", "#/"], others > 1 ? [row.name, route("package", row.name)] : [row.name, `#/?q=${encodeURIComponent(row.name)}`], [`${row.version} ${short}`]),
      el("h1", { tabindex: "-1" }, row.name, el("span", { class: "version" }, ` ${row.version}`)),
      el("p", { class: "lead" }, el("code", {}, short), flagsOf(row),
        others > 1 && el("a", { class: "side", href: route("package", row.name) }, `Compare all ${counted(others, "build")}`)),
      el("div", { class: "columns" },
        el("div", {},
          row.flags & CACHED ? commands(summary, row, details) : null,
          el("section", { class: "card" }, el("h2", {}, "Variants and flags"),
            row.variants.length
              ? el("ul", { class: "tokens" }, row.variants.map((token) => el("li", { class: `token ${token[0] === "+" ? "on" : token[0] === "~" ? "off" : ""}` }, token)))
              : el("p", { class: "muted" }, "None"))),
        el("section", { class: "card" }, el("h2", {}, "Facts"), facts(row, details))),
      drawing.element,
      el("section", { class: "card lists" }, el("h2", {}, "As lists"),
        links(table, "Direct dependencies", needs, needs.length) || el("p", { class: "muted" }, "It needs nothing."),
        links(table, "Direct dependents", (details.dependents || []).map((one) => [one, ""]), details.dependentsCount || 0) || el("p", { class: "muted" }, "Nothing here depends on it.")));
    return { title: `${row.name} ${row.version}`, page, shown: () => drawing.ready };
  }

  const missing = (text) => ({
    title: "Not found",
    page: el("div", {}, el("h1", { tabindex: "-1" }, "Not found"), el("p", {}, text), el("p", {}, el("a", { href: "#/" }, "All packages"))),
  });

  spackOciCatalog.missing = missing;
  spackOciCatalog.crumbs = crumbs;
  spackOciCatalog.digest = digest;
  views.set("package", { section: "packages", show: showPackage });
  views.set("build", { section: "packages", show: showBuild });
})();
