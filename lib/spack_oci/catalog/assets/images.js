// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// The images besides packages, and their layers.
"use strict";

(() => {
  const { el, svg, route, size, counted, command, badge, views, load, missing, crumbs, digest } = spackOciCatalog;

  async function showImages() {
    const images = await load("images-0");
    const cards = images.map((image) => {
      const sizes = image.platforms.map((platform) => platform.size);
      const layers = image.platforms.map((platform) => platform.layers.length);
      return el("li", {}, el("a", { class: "image-card", href: route("image", image.tag) },
        el("span", { class: "result-name" }, image.tag),
        el("span", { class: "versions" }, image.platforms.map((platform) => el("span", { class: "chip" }, platform.platform)), image.failure && badge("not readable", "warn")),
        el("span", { class: "muted" }, sizes.length ? `${size(Math.max(...sizes))} in ${counted(Math.max(...layers), "layer")}` : "")));
    });
    const page = el("div", {},
      el("h1", { tabindex: "-1" }, "Images"),
      el("p", { class: "lead" }, images.length
        ? `${counted(images.length, "image")} besides those that the packages are themselves.`
        : "This cache has no images besides those that the packages are themselves."),
      el("ul", { class: "cards", "aria-label": "Images" }, cards));
    return { title: "Images", page };
  }

  // a bar of all layers, wide as they are large
  function layerBar(platform) {
    const total = Math.max(1, platform.layers.reduce((sum, layer) => sum + layer[1], 0));
    let x = 0;
    const boxes = platform.layers.map(([, bytes, label, place], at) => {
      const width = (1000 * bytes) / total;
      const box = svg("rect", { x, y: 0, width: Math.max(0.5, width - 1.5), height: 28, class: `layer ${place >= 0 ? "package" : "base"} shade-${at % 3}` }, svg("title", {}, `${label || "layer"}: ${size(bytes)}`));
      x += width;
      return box;
    });
    return svg("svg", { viewBox: "0 0 1000 28", preserveAspectRatio: "none", class: "layer-bar", role: "img", "aria-label": `Sizes of ${counted(platform.layers.length, "layer")}; they are listed below` }, boxes);
  }

  function platformSection(table, platform) {
    const rows = platform.layers.map(([name, bytes, label, place], at) => {
      const row = place >= 0 ? table.row(place) : null;
      return el("tr", {},
        el("td", { class: "numeric" }, String(at + 1)),
        el("td", {}, row ? el("a", { href: route("build", row.hash) }, `${row.name}@${row.version}`) : label || "not described", row && el("code", { class: "muted" }, ` /${row.hash.slice(0, 7)}`)),
        el("td", { class: "numeric" }, size(bytes)),
        el("td", { class: "wide" }, digest(name)));
    });
    return el("section", { class: "card" },
      el("div", { class: "card-head" }, el("h2", {}, platform.platform), el("span", { class: "muted" }, `${size(platform.size)} in ${counted(platform.layers.length, "layer")}`)),
      layerBar(platform),
      el("dl", { class: "facts" }, [...platform.runs, ["Manifest", digest(platform.manifest)]].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Layers for ${platform.platform}` },
        el("table", { class: "layers" },
          el("caption", { class: "unseen" }, `Layers for ${platform.platform}, the lowest first`),
          el("thead", {}, el("tr", {}, ["#", "Content", "Size", "Digest"].map((text) => el("th", { scope: "col", class: text === "Digest" ? "wide" : text === "Content" ? "" : "numeric" }, text)))),
          el("tbody", {}, rows))));
  }

  async function showImage({ table, summary, parts: [tag] }) {
    const [images] = await Promise.all([load("images-0"), table.complete]);
    const image = images.find((one) => one.tag === tag);
    if (!image) return missing(`There is no image ${tag} in this cache.`);
    const name = summary.imagePrefix + image.tag;
    const page = el("div", {},
      crumbs(["Images", "#/images"], [image.tag]),
      el("h1", { tabindex: "-1" }, image.tag),
      el("p", { class: "lead" }, el("code", {}, name)),
      image.failure && el("p", { class: "notice" }, `It could not be read: ${image.failure}`),
      el("section", { class: "card" }, el("h2", {}, "Use it"),
        command("podman", `podman run --rm -it ${name}`),
        command("spack-oci", `spack-oci install ${summary.quotedUrl} --image ${image.tag} --store ~/sw`, "the packages of an environment's image, without a container")),
      image.platforms.map((platform) => platformSection(table, platform)));
    return { title: image.tag, page };
  }

  views.set("images", { section: "images", show: showImages });
  views.set("image", { section: "images", show: showImage });
})();
