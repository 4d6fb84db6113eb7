// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// Where the bytes are: a treemap of the packages by the size of their compressed layers.
"use strict";

(() => {
  const { el, svg, route, size, number, counted, views } = spackOciCatalog;
  const MOST = 120;
  const LISTED = 25;

  // Squarified treemap (Bruls, Huizing, van Wijk: "Squarified treemaps", 2000): [item, x, y, width, height] for items
  // with `bytes`, the largest first
  function squarify(items, x, y, width, height) {
    const found = [];
    let rest = items.filter((item) => item.bytes > 0);
    let total = rest.reduce((sum, item) => sum + item.bytes, 0);
    while (rest.length) {
      const side = Math.min(width, height);
      const scale = (width * height) / total;
      const worst = (row, sum) => {
        const areas = sum * scale;
        return Math.max((side * side * row[0].bytes * scale) / (areas * areas), (areas * areas) / (side * side * row[row.length - 1].bytes * scale));
      };
      let row = [rest[0]];
      let sum = rest[0].bytes;
      while (row.length < rest.length) {
        const next = rest[row.length];
        if (worst([...row, next], sum + next.bytes) > worst(row, sum)) break;
        row.push(next);
        sum += next.bytes;
      }
      const thickness = (sum * scale) / side;
      let along = 0;
      for (const item of row) {
        const length = (item.bytes / sum) * side;
        found.push(width >= height ? [item, x, y + along, thickness, length] : [item, x + along, y, length, thickness]);
        along += length;
      }
      if (width >= height) [x, width] = [x + thickness, width - thickness];
      else [y, height] = [y + thickness, height - thickness];
      rest = rest.slice(row.length);
      total -= sum;
    }
    return found;
  }

  function groups(table, summary) {
    const found = table.search("", { arches: null, compiler: -1, license: -1 }).filter((group) => group.bytes > 0);
    found.sort((one, other) => other.bytes - one.bytes);
    const items = found.slice(0, MOST).map((group) => ({ ...group, href: route("package", group.name) }));
    const rest = found.slice(MOST);
    if (rest.length) items.push({ name: `${number(rest.length)} smaller packages`, bytes: rest.reduce((sum, group) => sum + group.bytes, 0), places: rest.flatMap((group) => group.places), href: "", kind: "rest" });
    if (summary.imageBytes) items.push({ name: "Other layers of images", bytes: summary.imageBytes, places: [], href: "#/images", kind: "images" });
    return items.sort((one, other) => other.bytes - one.bytes);
  }

  function treemap(items, total, tell) {
    const narrow = window.innerWidth < 640;
    const [width, height] = narrow ? [360, 460] : [1080, 540];
    const cells = squarify(items, 0, 0, width, height).map(([item, x, y, w, h], at) => {
      const label = `${item.name}: ${size(item.bytes)}, ${((100 * item.bytes) / total).toFixed(1)} %`;
      const most = Math.floor((w - 14) / 8.6);
      const shades = Math.min(5, Math.floor(Math.sqrt(at)));
      const content = [
        svg("title", {}, label),
        svg("rect", { x: x + 1, y: y + 1, width: Math.max(0, w - 2), height: Math.max(0, h - 2), rx: 4, class: `cell ${item.kind || `shade-${shades}`}` }),
        most >= 3 && h > 22 && svg("text", { x: x + 8, y: y + 18, class: "cell-name" }, item.name.length > most ? `${item.name.slice(0, most - 1)}…` : item.name),
        w > 72 && h > 42 && svg("text", { x: x + 8, y: y + 35, class: "cell-size" }, size(item.bytes)),
      ];
      const attributes = { "aria-label": label, tabindex: at ? "-1" : "0", onfocus: () => tell(label), onmouseenter: () => tell(label) };
      return item.href ? svg("a", { href: item.href, ...attributes }, content) : svg("g", { role: "img", ...attributes }, content);
    });
    const map = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "treemap", role: "group", "aria-label": "Packages by size; arrow keys move between them", onkeydown: move }, cells);
    function move(event) {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = step && cells[cells.indexOf(document.activeElement) + step];
      if (!next) return;
      event.preventDefault();
      document.activeElement.setAttribute("tabindex", "-1");
      next.setAttribute("tabindex", "0");
      next.focus();
    }
    return map;
  }

  async function show({ table, summary }) {
    await table.complete;
    const items = groups(table, summary);
    const total = items.reduce((sum, item) => sum + item.bytes, 0);
    const caption = el("p", { class: "caption", "aria-hidden": "true" }, "Point at a package to see its size.");
    const largest = items.filter((item) => !item.kind).slice(0, LISTED);
    const bar = (item) => {
      const inner = el("span", { class: "bar-fill" });
      inner.style.width = `${(100 * item.bytes) / largest[0].bytes}%`;
      return el("span", { class: "bar-track", "aria-hidden": "true" }, inner);
    };
    const page = el("div", {},
      el("h1", { tabindex: "-1" }, "Where the bytes are"),
      el("p", { class: "lead" }, total
        ? `${size(total)} of compressed layers in ${counted(summary.packages, "build")} of ${counted(summary.names, "package")}.`
        : !summary.packages ? "There are no packages in this cache." : "The index of this cache does not tell sizes: `spack oci update-index` adds them."),
      total > 0 && el("section", { class: "card", "aria-label": "Treemap" }, treemap(items, total, (text) => (caption.textContent = text)), caption),
      total > 0 && el("section", { class: "card" }, el("h2", {}, "The largest packages"),
        el("ol", { class: "largest" }, largest.map((item) => el("li", {}, el("a", { href: item.href }, item.name), bar(item), el("span", { class: "result-size" }, size(item.bytes)), el("span", { class: "muted" }, counted(item.places.length, "build")))))));
    return { title: "Sizes", page };
  }

  views.set("sizes", { section: "sizes", show });
})();
