// SPDX-License-Identifier: (Apache-2.0 OR MIT)
// The table of all nodes, which comes in pieces, and the search in it.
"use strict";

spackOciCatalog.CACHED = 1;
spackOciCatalog.SIGNED = 2;
spackOciCatalog.SBOM = 4;
spackOciCatalog.EXTERNAL = 8;

spackOciCatalog.Table = class {
  constructor(summary) {
    this.summary = summary;
    this.pieces = [];
    this.expected = Math.ceil(summary.nodes / summary.rows);
    this.listeners = new Set();
    this.complete = this._load();
  }

  async _load() {
    const pieces = Array.from({ length: this.expected }, (_, number) => spackOciCatalog.load(`rows-${number}`));
    for (const promise of pieces) {
      this.pieces.push(await promise);
      for (const listener of this.listeners) listener();
    }
    return this;
  }

  get loaded() {
    return this.pieces.length === this.expected;
  }

  get rowsLoaded() {
    return Math.min(this.pieces.length * this.summary.rows, this.summary.nodes);
  }

  row(place) {
    const piece = this.pieces[Math.floor(place / this.summary.rows)];
    const at = place - piece.start;
    const [platform, os, target] = this.summary.arches[piece.arch[at]];
    return {
      place,
      name: piece.names[piece.name[at]],
      version: piece.versions[piece.version[at]],
      variants: piece.sets[piece.variants[at]].map((token) => piece.tokens[token]),
      compiler: this.summary.compilers[piece.compiler[at]],
      platform,
      os,
      target,
      license: this.summary.licenses[piece.license[at]],
      hash: piece.hash.slice(32 * at, 32 * at + 32),
      size: piece.size[at],
      flags: piece.flags[at],
    };
  }

  // place of the node with this hash, or of the first whose hash begins so; -1: none
  find(hash) {
    for (const piece of this.pieces) {
      for (let at = piece.hash.indexOf(hash); at >= 0; at = piece.hash.indexOf(hash, at + 1)) {
        if (at % 32 === 0) return piece.start + at / 32;
      }
    }
    return -1;
  }

  // places of the cached builds of a name
  named(name) {
    const found = [];
    for (const piece of this.pieces) {
      const wanted = piece.names.indexOf(name);
      if (wanted < 0) continue;
      piece.name.forEach((one, at) => {
        if (one === wanted && piece.flags[at] & spackOciCatalog.CACHED) found.push(piece.start + at);
      });
    }
    return found;
  }

  async details(place) {
    const each = this.summary.builds;
    return (await spackOciCatalog.load(`builds-${Math.floor(place / each)}`))[place % each];
  }

  // {name, places, bytes} for each name with a build that matches, the best first
  search(query, filters) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const tests = words.map((word) => new spackOciCatalog.Word(word, this.summary));
    const found = [];
    let group = null; // rows are sorted by name
    for (const piece of this.pieces) {
      const checks = tests.map((test) => test.of(piece));
      const { arch, compiler, license, flags } = piece;
      for (let at = 0; at < flags.length; at++) {
        if (!(flags[at] & spackOciCatalog.CACHED)) continue;
        if (filters.arches && !filters.arches[arch[at]]) continue;
        if (filters.compiler >= 0 && compiler[at] !== filters.compiler) continue;
        if (filters.license >= 0 && license[at] !== filters.license) continue;
        if (!checks.every((check) => check(at))) continue;
        const name = piece.names[piece.name[at]];
        if (group === null || group.name !== name) found.push((group = { name, places: [], bytes: 0 }));
        group.places.push(piece.start + at);
        group.bytes += Math.max(0, piece.size[at]);
      }
    }
    const bare = words.map((word) => word.split(/[@%+~/=]/)[0]).find(Boolean);
    if (!bare) return found;
    const rank = ({ name }) => {
      const lower = name.toLowerCase();
      return lower === bare ? 0 : lower.startsWith(bare) ? 1 : lower.includes(bare) ? 2 : 3;
    };
    return found
      .map((group) => [rank(group), group])
      .sort((one, other) => one[0] - other[0]) // stable: the order of names within a rank
      .map(([, group]) => group);
  }
};

// One word of a query. As in a spec: @1.14 +mpi ~shared %gcc target=zen3 os=rhel9 license=mit /hash; else any text.
// Values that repeat are looked at once for each piece, not once for each row.
spackOciCatalog.Word = class {
  constructor(word, summary) {
    this.word = word;
    this.summary = summary;
    const [, sigil, rest] = /^([@%+~/]?)(.*)$/s.exec(word);
    this.parts = sigil ? [] : word.split(/(?=[@%+~/])/).filter((part) => part.length > 1 || !/[@%+~/]/.test(part));
    this.sigil = rest ? sigil : "";
    this.text = this.sigil ? rest : word;
    [, this.key, this.value] = /^([a-z_]+)=(.+)$/s.exec(word) || [];
  }

  of(piece) {
    const own = this._own(piece);
    if (this.parts.length < 2) return own;
    const checks = this.parts.map((part) => new spackOciCatalog.Word(part, this.summary).of(piece));
    return (at) => own(at) || checks.every((check) => check(at));
  }

  _own(piece) {
    const { compilers, arches, licenses } = this.summary;
    const text = this.text;
    const has = (value) => value.toLowerCase().includes(text);
    const begins = (value) => value.toLowerCase().startsWith(text);
    const column = (numbers, values, test) => {
      const hits = Uint8Array.from(values, (value) => test(value));
      return hits.includes(1) ? (at) => hits[numbers[at]] : () => 0;
    };
    const variants = (test) => {
      const tokens = Uint8Array.from(piece.tokens, (token) => test(token.toLowerCase()));
      if (!tokens.includes(1)) return () => 0;
      return column(piece.variants, piece.sets, (set) => set.some((token) => tokens[token]));
    };
    const hash = (at) => piece.hash.startsWith(text, 32 * at);
    switch (this.sigil) {
      case "@":
        return column(piece.version, piece.versions, begins);
      case "%":
        return column(piece.compiler, compilers, has);
      case "/":
        return hash;
      case "+":
      case "~":
        return variants((token) => token.startsWith(this.word));
    }
    if (this.key) {
      const includes = (value) => value.toLowerCase().includes(this.value);
      const architecture = ["platform", "os", "target"].indexOf(this.key);
      if (architecture >= 0) return column(piece.arch, arches, (arch) => includes(arch[architecture]));
      if (this.key === "license") return column(piece.license, licenses, includes);
      if (this.key === "compiler") return column(piece.compiler, compilers, includes);
      return variants((token) => token.startsWith(this.word));
    }
    const checks = [
      column(piece.name, piece.names, has),
      column(piece.version, piece.versions, begins),
      column(piece.compiler, compilers, has),
      column(piece.arch, arches, (arch) => arch.some(has)),
      column(piece.license, licenses, has),
      variants((token) => token.includes(text)),
    ];
    if (/^[a-z2-7]{5,32}$/.test(text)) checks.push(hash);
    return (at) => checks.some((check) => check(at));
  }
};
