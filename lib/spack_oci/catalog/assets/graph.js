// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// Dependencies and dependents of one build, as a drawing: what depends on it to the left, what it needs to the right.
"use strict";

spackOciCatalog.graph = (() => {
  const { el, svg, route, counted, CACHED } = spackOciCatalog;
  const WIDTH = 176;
  const HEIGHT = 40;
  const GAP_X = 64;
  const GAP_Y = 12;
  const MOST = { dependents: 9, column: 24 };
  const [BUILD, LINK, RUN] = [1, 2, 4];

  // dependency types in words
  const types = (mask) => ["build", "link", "run", "test"].filter((_, bit) => mask & (1 << bit)).join(", ");

  // the nodes at most `depth` edges away: {nodes: Map place -> column, edges: [from, to, types], left out}
  async function gather(table, center, depth) {
    const own = await table.details(center);
    const nodes = new Map([[center, 0]]);
    const edges = [];
    const dependents = (own.dependents || []).slice(0, MOST.dependents);
    const hidden = { dependents: (own.dependentsCount || 0) - dependents.length, needs: 0 };
    for (const place of dependents) {
      const found = (await table.details(place)).needs.find(([to]) => to === center);
      nodes.set(place, -1);
      edges.push([place, center, found ? found[1] : LINK]);
    }
    // beyond the direct ones, what is needed to run: compilers and tools of everything would be most of the drawing
    const needed = async (place) =>
      ((await table.details(place)).needs || []).filter(([, mask]) => place === center || mask & (LINK | RUN));
    const needs = new Map();
    let layer = [center];
    const seen = new Set(layer);
    for (let level = 0; level < depth && layer.length; level++) {
      const next = [];
      for (const place of layer) {
        const found = await needed(place);
        needs.set(place, found);
        for (const [to] of found) {
          if (seen.has(to)) continue;
          if (next.length >= MOST.column) {
            hidden.needs++;
            continue;
          }
          seen.add(to);
          next.push(to);
        }
      }
      layer = next;
    }
    // of direct ones, only what leads to them; of more, also what leads from one to another
    if (depth > 1) for (const place of layer) needs.set(place, await needed(place));
    // the column of a node: the longest way to it, so that every edge leads to the right
    const column = new Map();
    const visit = (place) => {
      if (column.has(place)) return column.get(place);
      column.set(place, 0); // of a node in a circle, which an index does not have
      const users = [...needs].filter(([, found]) => found.some(([to]) => to === place)).map(([user]) => user);
      column.set(place, place === center ? 0 : 1 + Math.max(0, ...users.filter((user) => seen.has(user)).map(visit)));
      return column.get(place);
    };
    for (const place of seen) nodes.set(place, visit(place));
    for (const [from, found] of needs) {
      for (const [to, mask] of found) if (seen.has(from) && seen.has(to)) edges.push([from, to, mask]);
    }
    return { nodes, edges, hidden };
  }

  // Where everything is: in columns; an edge over several columns has a waypoint in each between, which the edges to one
  // node share. {at: Map of nodes and waypoints -> [x, y], lines: [[from, waypoint, ..., to], types]}
  function arrange(table, { nodes, edges }) {
    const columns = new Map();
    const place = (spot, column) => {
      if (!columns.has(column)) columns.set(column, new Set());
      columns.get(column).add(spot);
    };
    for (const [node, column] of nodes) place(node, column);
    const lines = edges.map(([from, to, mask]) => {
      const way = [from];
      for (let column = nodes.get(from) + 1; column < nodes.get(to); column++) {
        way.push(`${to}@${column}`);
        place(way[way.length - 1], column);
      }
      return [[...way, to], mask];
    });
    const order = [...columns.keys()].sort((one, other) => one - other);
    const name = (spot) => table.row(parseInt(spot, 10)).name;
    for (const column of order) columns.set(column, [...columns.get(column)].sort((one, other) => name(one).localeCompare(name(other), "en")));
    untangle(columns, order, lines);
    const tall = (spot) => (typeof spot === "string" ? 6 : HEIGHT) + GAP_Y;
    const total = (column) => columns.get(column).reduce((sum, spot) => sum + tall(spot), -GAP_Y);
    const height = Math.max(...order.map(total));
    const at = new Map();
    order.forEach((column, across) => {
      let y = (height - total(column)) / 2;
      for (const spot of columns.get(column)) {
        at.set(spot, [across * (WIDTH + GAP_X), y]);
        y += tall(spot);
      }
    });
    return { at, lines, width: order.length * (WIDTH + GAP_X) - GAP_X, height };
  }

  // some sweeps: what is in a column moves to the middle of what leads to it, which leaves fewer crossings
  function untangle(columns, order, lines) {
    const users = new Map();
    for (const [way] of lines) {
      way.slice(1).forEach((spot, at) => users.set(spot, [...(users.get(spot) || []), way[at]]));
    }
    for (let sweep = 0; sweep < 4; sweep++) {
      const spots = new Map();
      for (const column of order) {
        const middle = (spot) => {
          const found = (users.get(spot) || []).filter((user) => spots.has(user));
          return found.length ? found.reduce((sum, user) => sum + spots.get(user), 0) / found.length : 0;
        };
        const weights = new Map(columns.get(column).map((spot) => [spot, middle(spot)]));
        columns.get(column).sort((one, other) => weights.get(one) - weights.get(other));
        columns.get(column).forEach((spot, at, all) => spots.set(spot, at / all.length));
      }
    }
  }

  function shorten(text, most) {
    return text.length > most ? `${text.slice(0, most - 1)}…` : text;
  }

  function node(table, place, [x, y], isCenter) {
    const row = table.row(place);
    const kind = isCenter ? "center" : row.flags & CACHED ? "" : "outside";
    const label = `${row.name}@${row.version}${kind === "outside" ? ", not in this cache" : ""}`;
    const box = [
      svg("title", {}, `${label} /${row.hash.slice(0, 7)}`),
      svg("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 8 }),
      svg("text", { x: x + 12, y: y + 17, class: "node-name" }, shorten(row.name, 21)),
      svg("text", { x: x + 12, y: y + 32, class: "node-version" }, shorten(row.version, 24)),
    ];
    if (isCenter) return svg("g", { class: `node ${kind}` }, box);
    return svg("a", { class: `node ${kind}`, href: route("build", row.hash), "aria-label": label }, box);
  }

  async function draw(table, center, depth) {
    const found = await gather(table, center, depth);
    const { at, lines, width, height } = arrange(table, found);
    const row = table.row(center);
    const curve = ([x1, y1], [x2, y2]) => `C${x1 + GAP_X / 2} ${y1} ${x2 - GAP_X / 2} ${y2} ${x2} ${y2}`;
    const paths = lines.map(([way, mask]) => {
      let here = [at.get(way[0])[0] + WIDTH, at.get(way[0])[1] + HEIGHT / 2];
      let d = `M${here.join(" ")}`;
      for (const spot of way.slice(1)) {
        const [x, y] = at.get(spot);
        const isWaypoint = typeof spot === "string";
        d += curve(here, [x, isWaypoint ? y + 3 : y + HEIGHT / 2]);
        here = [x + WIDTH, y + 3];
        if (isWaypoint) d += `H${here[0]}`;
      }
      return svg("path", { d, class: mask & (LINK | RUN) ? "edge" : "edge build" });
    });
    const boxes = [...found.nodes.keys()].sort((one, other) => at.get(one)[0] - at.get(other)[0] || at.get(one)[1] - at.get(other)[1]);
    const drawing = svg("svg",
      { viewBox: `-4 -4 ${width + 8} ${height + 8}`, width: width + 8, height: height + 8, role: "group",
        "aria-label": `Dependencies and dependents of ${row.name}` },
      svg("g", { "aria-hidden": "true" }, paths),
      boxes.map((place) => node(table, place, at.get(place), place === center)));
    const notes = [];
    if (found.hidden.dependents > 0) notes.push(`${counted(found.hidden.dependents, "more dependent")} not drawn`);
    if (found.hidden.needs > 0) notes.push(`${found.hidden.needs} more dependencies not drawn`);
    return { drawing, note: notes.join("; "), center: at.get(center)[0] + WIDTH / 2 };
  }

  // the section of a page with the drawing
  function section(table, center) {
    const frame = el("div", { class: "graph", tabindex: "0", role: "region", "aria-label": "Drawing of the dependencies" });
    const note = el("p", { class: "hint" });
    const depth = el("select", { id: "depth", onchange: update },
      [["1", "direct"], ["2", "two steps"], ["3", "three steps"], ["99", "all to run it"]].map(([value, label]) => el("option", { value }, label)));
    async function update() {
      const { drawing, note: text, center: middle } = await draw(table, center, Number(depth.value));
      frame.replaceChildren(drawing);
      note.textContent = text;
      frame.scrollLeft = middle - frame.clientWidth / 2;
    }
    const ready = update();
    const legend = el("ul", { class: "legend", "aria-label": "Legend" },
      el("li", {}, sample("edge"), "link or run"), el("li", {}, sample("edge build"), "build only"),
      el("li", {}, el("span", { class: "swatch outside" }), "not in this cache"));
    const head = el("div", { class: "card-head" }, el("h2", {}, "Dependencies and dependents"),
      el("div", { class: "field inline" }, el("label", { for: "depth" }, "Depth"), depth));
    return { element: el("section", { class: "card" }, head, frame, legend, note), ready };
  }

  const sample = (kind) => svg("svg", { width: 28, height: 8, "aria-hidden": "true" }, svg("path", { d: "M0 4H28", class: kind }));

  return { section, types, BUILD };
})();
