// What a reader can move: each instrument picks from the table that stands in its page, so that it works from a folder, too.
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";
  const all = (what, within = document) => [...within.querySelectorAll(what)];

  // ---- numbers, as everywhere on the site
  const plain = (text) => (/[1-9]/.test(text) ? text : text.replace("-", ""));
  const grouped = (text) => text.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const count = (value) => (Number.isInteger(value) ? grouped(String(value)) : grouped(value.toFixed(1).split(".")[0]) + "." + value.toFixed(1).split(".")[1]);
  const score = (value) => plain(value.toFixed(3));
  const share = (value) => plain((100 * value).toFixed(1)) + " %";
  const percent = (value) => `${+(100 * value).toFixed(1)} %`;
  const spanned = ([value, low, high], form = score) => {
    if (!Number.isFinite(value)) return "none";
    return form(value) + (low === null || Number.isNaN(low) ? "" : ` (${form(low)} to ${high === Infinity ? "no end" : form(high)})`);
  };

  // ---- what is made of sensitivity and specificity, as `leukonb.evidence.utility` makes it; a share is [value, low, high]
  const rest = ([value, low, high]) => [1 - value, 1 - high, 1 - low];
  const addShares = (weights, shares) => {
    const turned = shares.map(([value, low, high], i) => (weights[i] >= 0 ? [value, low, high] : [value, high, low]));
    const value = turned.reduce((sum, own, i) => sum + weights[i] * own[0], 0);
    const [down, up] = [1, 2].map((end) => Math.hypot(...turned.map((own, i) => weights[i] * (own[0] - own[end]))));
    return [value, value - down, value + up];
  };
  const ratioLow = (first, second) => {
    const a = first[0] ** 2 - (first[0] - first[1]) ** 2, b = second[0] ** 2 - (second[2] - second[0]) ** 2;
    const product = first[0] * second[0], below = product + Math.sqrt(Math.max(0, product ** 2 - a * b));
    return below > 0 ? a / below : 0;
  };
  const divideShares = (first, second) => {
    if (first[0] === 0 && second[0] === 0) return [NaN, NaN, NaN];
    const inverse = ratioLow(second, first);
    return [second[0] ? first[0] / second[0] : Infinity, ratioLow(first, second), inverse ? 1 / inverse : Infinity];
  };
  const chance = (odds) => odds.map((o) => (o === Infinity ? 1 : o / (1 + o)));
  const worth = (sensitivity, specificity, prevalence, threshold) => {
    const ill = sensitivity, well = rest(specificity), odds = prevalence / (1 - prevalence);
    const ppv = chance(divideShares(ill, well).map((ratio) => odds * ratio));
    const npv = chance(divideShares(rest(well), rest(ill)).map((ratio) => ratio / odds));
    const review = [ppv[0], ppv[2], ppv[1]].map((end) => (end ? 1 / end : Infinity));
    const price = (1 - prevalence) * threshold / (1 - threshold);
    return { ppv, npv, review, benefit: addShares([prevalence, -price], [ill, well]), everyone: prevalence - price };
  };

  // ---- what an instrument is made of
  const make = (name, given = {}, ...within) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(given)) {
      if (key === "class") node.className = value; else if (key in node && key !== "list") node[key] = value; else node.setAttribute(key, value);
    }
    node.append(...within);
    return node;
  };
  const draw = (name, given = {}, ...within) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(given)) node.setAttribute(key, value);
    node.append(...within);
    return node;
  };
  const picture = (label, width, height, ...within) =>
    draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...within);
  const line = (x1, y1, x2, y2, colour = "#e6e8ec", given = {}) => draw("line", { x1, y1, x2, y2, stroke: colour, ...given });
  const word = (x, y, text, given = {}) => draw("text", { x, y, fill: "#22262e", ...given }, text);
  const table = (caption, heads, rows, first = true) => {
    const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
    const body = rows.map((row) => make("tr", {}, ...row.map((text, i) => (i === 0 && first ? make("th", { scope: "row" }, text) : make("td", { class: "number" }, text)))));
    return make("table", { class: "leukonb" }, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  };
  const link = (address, text) => (address ? make("a", { href: address }, text) : text);

  // What is chosen stands in the address, so that it can be sent to somebody.
  const readAddress = () => new Map([...new URLSearchParams(location.hash.slice(1))]);
  const writeAddress = (chosen) => {
    const text = "#" + new URLSearchParams(Object.entries(chosen)).toString();
    if (text === location.hash) return;
    try { history.replaceState(null, "", text); } catch (_) { /* a browser that forbids it in a folder: only the link is lost */ }
  };
  class Instrument {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
      this.named = new Map(all("[name]", root).map((control) => [control.name, control]));
      this.fill("source", this.data.sources.map((source) => [source.id, source.title + (source.drawn ? " (drawn cells)" : "")]));
      root.addEventListener("input", (event) => this.changed(event.target.name));
      addEventListener("hashchange", () => { this.restore(); this.show(); });
      let width = innerWidth;
      addEventListener("resize", () => { if (width !== innerWidth) { width = innerWidth; this.show(); } });
    }
    get source() { return this.data.sources.find((source) => source.id === this.value("source")) || this.data.sources[0]; }
    value(name) { return (this.named.get(name) || {}).value; }
    set(name, value) { this.named.get(name).value = value; }
    // How many pixels a picture may take, so that its letters have the size of the page's.
    roomOf(name, most = 520) { return Math.max(280, Math.min(most, (this.place(name).clientWidth || most) - 13)); }
    place(name) { return this.root.querySelector(`[data-place=${name}]`); }
    output(name, text) {
      const control = this.named.get(name);
      control.closest("label").querySelector("output").textContent = text;
      control.setAttribute("aria-valuetext", text);
    }
    fill(name, entries) {
      const control = this.named.get(name), before = control.value;
      control.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
      if (entries.some(([value]) => String(value) === before)) control.value = before;
      control.closest("label").hidden = entries.length < 2;
    }
    restore() {
      const asked = readAddress();
      for (const name of this.kept) {
        const control = this.named.get(name);
        if (control && asked.has(name)) { control.value = asked.get(name); this.changed(name, true); }
        if (control && control.tagName === "SELECT" && control.selectedIndex < 0) control.selectedIndex = 0;
      }
    }
    changed(name, quietly = false) { if (name === "source") this.enter(); if (!quietly) this.show(); }
    start() { this.enter(); this.restore(); this.show(); }
    tell(sentence) {
      const { source } = this, drawn = this.root.querySelector(".drawn"), about = this.root.querySelector(".about");
      drawn.hidden = !source.drawn;
      drawn.textContent = source.drawn ? "Drawn cells: these figures say nothing about patients." : "";
      about.replaceChildren(`${source.title}: ${source.said}. `, source.run ? link(source.run, "The run") : "", source.run ? "." : "");
      this.root.querySelector(".said").textContent = sentence;
      // Tables that were put in anew are fitted to their column as those were that stood there.
      setTimeout(() => dispatchEvent(new Event("resize")));
    }
  }

  // ---- the operating point
  class Operating extends Instrument {
    kept = ["source", "arm", "threshold", "prevalence"];
    enter() { this.fill("arm", this.source.arms.map((arm, i) => [i, arm.name])); }
    restore() {
      super.restore();
      // A prevalence is written as itself, not as its number in the list.
      const asked = parseFloat(readAddress().get("prevalence"));
      if (asked > 0 && asked < 1) {
        const far = this.data.prevalences.map((p) => Math.abs(Math.log(p / asked)));
        this.set("prevalence", far.indexOf(Math.min(...far)));
      }
    }
    get at() {
      const arm = this.source.arms[+this.value("arm")] || this.source.arms[0];
      const threshold = Math.min(0.99, Math.max(0.01, +this.value("threshold")));
      const place = Math.round(100 * threshold) - 1;
      return { arm, place, threshold: this.data.thresholds[place], prevalence: this.data.prevalences[+this.value("prevalence")] };
    }
    judge(arm, place, prevalence) {
      const [ill, well, ...ends] = arm.points[place], sensitivity = ends.slice(0, 3), specificity = ends.slice(3);
      return { ill, well, sensitivity, specificity, ...worth(sensitivity, specificity, prevalence, this.data.thresholds[place]) };
    }
    show() {
      const { arm, place, threshold, prevalence } = this.at, found = this.judge(arm, place, prevalence);
      this.output("threshold", threshold.toFixed(2));
      this.output("prevalence", percent(prevalence));
      this.tell(`From a score of ${threshold.toFixed(2)}: sensitivity ${spanned(found.sensitivity)}, specificity ${spanned(found.specificity)}. ` +
        (found.ill + found.well ? `Where ${percent(prevalence)} are ALL, a call of ALL is right with a probability of ${spanned(found.ppv)}.`
          : "No cell is called ALL, so nothing can be said of such a call."));
      this.showTables(arm, found, prevalence);
      this.place("scores").replaceChildren(...this.drawScores(arm, threshold));
      this.place("benefit").replaceChildren(...this.drawBenefit(arm, place, prevalence));
      writeAddress({ source: this.source.id, arm: this.value("arm"), threshold: threshold.toFixed(2), prevalence });
    }
    showTables(arm, found, prevalence) {
      const [ill, well] = arm.cells, shared = (part, whole) => `${count(part)} (${share(part / whole)})`;
      this.place("confusion").replaceChildren(table("Cells by what they are and what they are called",
        ["cell", "called ALL", "called HEM", "all"], [
          ["is ALL", shared(found.ill, ill), shared(ill - found.ill, ill), count(ill)],
          ["is HEM", shared(found.well, well), shared(well - found.well, well), count(well)],
        ]));
      const rows = [
        ["sensitivity", found.sensitivity, "share of the ALL cells that are called ALL"],
        ["specificity", found.specificity, "share of the HEM cells that are called HEM"],
        ["positive predictive value", found.ppv, "how often a call of ALL is right"],
        ["negative predictive value", found.npv, "how often a call of HEM is right"],
        ["cells to review for each ALL found", found.review, "how many are called ALL for one that is"],
        ["net benefit", found.benefit, "ALL found, less false alarms at the price that the threshold sets"],
        ["net benefit of calling every cell ALL", [found.everyone, null, null], "to be beaten, as is 0, the net benefit of calling none"],
      ];
      const fewer = (value) => value.toFixed(value >= 9.995 ? 1 : 2);
      this.place("values").replaceChildren(table(`What a call is worth where ${percent(prevalence)} are ALL`,
        ["figure", "value (95 %, over people)"], rows.map(([name, triple]) => [name, spanned(triple, triple === found.review ? fewer : score)])));
      all("tbody th", this.place("values")).forEach((cell, i) => cell.append(make("span", { class: "what" }, rows[i][2])));
    }
    drawScores(arm, threshold) {
      const width = this.roomOf("scores"), [height, left, right, middle, reach] = [312, 10, width - 10, 156, 104];
      const x = (value) => left + value * (right - left), bins = arm.bins[0].length, { ALL, HEM } = this.data.colours;
      const most = arm.bins.map((own) => Math.max(...own, 1));
      const bars = [ALL, HEM].flatMap((colour, side) => arm.bins[side].map((number, i) => {
        const high = number / most[side] * reach, right = (i + 0.5) / bins >= threshold === (side === 0);
        return draw("rect", { x: x(i / bins), y: side ? middle : middle - high, width: Math.max(1, x(1 / bins) - left - 1), height: high, fill: colour, opacity: right ? 1 : 0.4 });
      }));
      const key = [draw("circle", { cx: left + 6, cy: 10, r: 6, fill: ALL }), word(left + 17, 15, "ALL, upwards"),
        draw("rect", { x: left + 120, y: 4, width: 12, height: 12, fill: HEM }), word(left + 137, 15, "HEM, downwards")];
      const cut = [line(x(threshold), 30, x(threshold), 264, "#22262e", { "stroke-width": 2 }),
        word(x(threshold) + (threshold > 0.6 ? -6 : 6), 42, "called ALL from here", { "text-anchor": threshold > 0.6 ? "end" : "start" })];
      const label = `Scores of ${count(arm.cells[0])} ALL cells, upwards, and ${count(arm.cells[1])} HEM cells, downwards; the threshold is at ${threshold.toFixed(2)}`;
      return [picture(label, width, height, ...key, ...bars, line(left, middle, right, middle, "#9aa0aa"), ...cut, ...this.marks(x, 280),
        word((left + right) / 2, 300, "score", { "text-anchor": "middle" })),
      make("figcaption", {}, "Cells by score, each class to its own height. Pale: called wrongly.")];
    }
    marks(x, y) { return [0, 0.25, 0.5, 0.75, 1].map((v) => word(x(v), y, String(v), { "text-anchor": v === 0 ? "start" : v === 1 ? "end" : "middle" })); }
    drawBenefit(arm, place, prevalence) {
      const width = this.roomOf("benefit"), [height, left, right, top, bottom] = [312, 62, width - 10, 8, 264];
      const least = -0.25 * prevalence, most = 1.1 * prevalence, at = this.data.thresholds;
      const x = (value) => left + value * (right - left), y = (value) => bottom - (value - least) / (most - least) * (bottom - top);
      const points = (values, order = at.map((_, i) => i)) => order.map((i) => `${x(at[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`);
      const path = (values) => "M" + points(values).join("L");
      const each = arm.points.map((_, i) => this.judge(arm, i, prevalence)), back = at.map((_, i) => at.length - 1 - i);
      const band = "M" + [...points(each.map((e) => e.benefit[2])), ...points(each.map((e) => e.benefit[1]), back)].join("L") + "Z";
      const ticks = [0, prevalence].map((v) => word(left - 6, y(v) + 4, v === 0 ? "0" : String(+v.toPrecision(3)), { "text-anchor": "end" }));
      // What lies outside the frame is cut off at it.
      const within = draw("svg", { x: left, y: top, width: right - left, height: bottom - top, viewBox: `${left} ${top} ${right - left} ${bottom - top}` },
        draw("path", { d: band, fill: "#3557a8", opacity: 0.16 }),
        draw("path", { d: path(each.map((e) => e.everyone)), fill: "none", stroke: "#6b7280", "stroke-width": 1.5, "stroke-dasharray": "6 4" }),
        draw("path", { d: path(each.map((e) => e.benefit[0])), fill: "none", stroke: "#3557a8", "stroke-width": 2.5 }),
        line(x(at[place]), top, x(at[place]), bottom, "#22262e", { "stroke-width": 2 }),
        draw("circle", { cx: x(at[place]), cy: y(each[place].benefit[0]), r: 5, fill: "#3557a8" }));
      return [picture(`Net benefit at each threshold where ${percent(prevalence)} are ALL: ${spanned(each[place].benefit)} at ${at[place].toFixed(2)}`, width, height,
        line(left, y(0), right, y(0), "#6b7280", { "stroke-width": 1.5 }), line(left, top, left, bottom, "#9aa0aa"), within, ...ticks, ...this.marks(x, 280),
        word((left + right) / 2, 300, "threshold", { "text-anchor": "middle" }),
        word(14, (top + bottom) / 2, "net benefit of a cell", { "text-anchor": "middle", transform: `rotate(-90 14 ${(top + bottom) / 2})` })),
      make("figcaption", {}, "Net benefit: this classifier with its interval (blue), calling every cell ALL (dashed), calling none (0). What is lower than the frame is not drawn.")];
    }
  }

  // ---- the leak
  class Leakage extends Instrument {
    kept = ["source", "score"];
    enter() {
      const { ways } = this.source, before = this.way;
      this.fill("score", Object.keys(ways[0].scores).map((name) => [name, name]));
      this.place("ways").replaceChildren(...ways.map((way, i) => make("label", {},
        make("input", { type: "radio", name: "way", value: way.name, checked: before ? way.name === before : i === 0 }), ` ${way.name}`)));
      if (!this.way) all("[name=way]", this.root)[0].checked = true;
    }
    get way() { return (this.root.querySelector("[name=way]:checked") || {}).value; }
    restore() {
      super.restore();
      const asked = all("[name=way]", this.root).find((radio) => radio.value === readAddress().get("way"));
      if (asked) asked.checked = true;
    }
    show() {
      const { source } = this, name = this.value("score") || "AUROC", way = source.ways.find((own) => own.name === this.way);
      const [claimed, left, gap] = way.scores[name], own = name === "AUROC" && way.plain;
      const sure = gap[1] > 0 ? "The whole interval of the difference is above 0." : "The interval of the difference holds 0: it may be chance.";
      this.tell(`Split by ${way.name}: the split's own test claims ${name} ${spanned(claimed)}; ${spanned(left)} is left on people in no part of it. ${sure}`);
      const rows = [["claimed by the split's own test", claimed], ["left on people in no part of it", left], ["given away", gap]].map((row) => [...row, source.said]);
      if (own) rows.push(["plain cues, own test", own.triple, own.said]);
      if (own && own.kept) rows.push(["plain cues, on people in no part", own.kept, own.said]);
      this.place("numbers").replaceChildren(table(`${name}, split by ${way.name}`, ["figure", "value (interval)"], rows.map(([what, triple]) => [what, spanned(triple)])));
      if (own) all("tbody tr:nth-child(4) th", this.place("numbers"))[0].append(" (", link(own.run, own.experiment === "ways" ? "boosting on size, mean colour and outline" : "size, colour, outline and texture"), ")");
      // Intervals of two runs need not be of the same kind.
      all("tbody th", this.place("numbers")).forEach((cell, i) => cell.append(make("span", { class: "what" }, rows[i][2])));
      const exposed = Object.entries(way.exposed), said = { "of people learned": "of people who are in training", "same picture": "the same picture", "second photograph": "another photograph of the same cell", copy: "an augmented copy" };
      this.place("exposed").replaceChildren(...(exposed.length ? [table("Cells of the test part that training has seen", ["cells", "share of the test part"], exposed.map(([what, part]) => [said[what] || what, share(part)]))] : []));
      this.drawClaims(name, way);
      writeAddress({ source: source.id, score: name, way: way.name });
    }
    drawClaims(name, way) {
      const place = this.place("claims"), triples = way.scores[name], plain = name === "AUROC" && way.plain ? way.plain.triple : null;
      const every = this.source.ways.flatMap((own) => [...own.scores[name].slice(0, 2), ...(name === "AUROC" && own.plain ? [own.plain.triple, own.plain.kept].filter(Boolean) : [])]);
      const single = name === "AUROC" ? this.source.ways.flatMap((own) => own.splits.flat()) : [];
      const least = Math.min(0.5, Math.floor(10 * Math.min(...every.map((triple) => triple[1]), ...single)) / 10);
      const width = this.roomOf("claims", 760), [left, right] = [14, width - 14], x = (value) => left + (Math.max(least, value) - least) / (1 - least) * (right - left);
      const rows = [["claimed", "claimed by the split's own test", triples[0], "#b3412e", 0], ["left", "left on people in no part of it", triples[1], "#3557a8", 1]];
      if (plain) rows.push(["plain", "plain cues, the split's own test", plain, "#b3412e", null]);
      if (plain && way.plain.kept) rows.push(["kept", "plain cues, on people in no part of it", way.plain.kept, "#3557a8", null]);
      const keys = ["claimed", "left", "plain", ...(this.source.ways.some((own) => own.plain && own.plain.kept) ? ["kept"] : [])];
      const height = 46 + 82 * keys.length, label = `${name} split by ${way.name}: ` + rows.map(([, what, triple]) => `${what} ${spanned(triple)}`).join("; ");
      if (!this.svg || this.svg.least !== least || this.svg.width !== width || this.svg.groups.size !== keys.length) {
        const ticks = Array.from({ length: Math.round((1 - least) * 10) + 1 }, (_, i) => Math.round(10 * least + i) / 10);
        const grid = ticks.flatMap((v) => [line(x(v), 6, x(v), height - 40), word(x(v), height - 22, v.toFixed(1), { "text-anchor": "middle" })]);
        const node = picture(label, width, height, ...grid, this.axis = word((left + right) / 2, height - 4, name, { "text-anchor": "middle" }));
        const groups = keys.map((key, i) => { const g = draw("g", { transform: `translate(0 ${18 + 82 * i})` }); node.append(g); return [key, g]; });
        this.svg = { least, width, node, groups: new Map(groups) };
        place.replaceChildren(node, this.note = make("figcaption"));
      }
      const { node, groups } = this.svg;
      node.setAttribute("aria-label", label);
      this.axis.textContent = name;
      this.note.textContent = "Large marks: the mean over splits with its interval." + (name === "AUROC" && way.splits.length ? " Small marks: single splits." : "");
      for (const [key, group] of groups) {
        const row = rows.find(([own]) => own === key);
        group.setAttribute("visibility", row ? "visible" : "hidden");
        if (!row) continue;
        const [, what, [value, low, high], colour, column] = row;
        if (!group.firstChild) {
          const shapes = { claimed: draw("circle", { r: 7, fill: colour }), left: draw("rect", { x: -6, y: -6, width: 12, height: 12, fill: colour, transform: "rotate(45)" }), plain: draw("circle", { r: 6.5, fill: "#fff", stroke: colour, "stroke-width": 2 }), kept: draw("rect", { x: -5.5, y: -5.5, width: 11, height: 11, fill: "#fff", stroke: colour, "stroke-width": 2, transform: "rotate(45)" }) };
          group.append(word(left, 4, what, { fill: colour, "font-weight": 600 }), draw("g", { class: "single" }), line(0, 44, 1, 44, colour, { class: "span", "stroke-width": 2.5 }), draw("g", { class: "moves" }, shapes[key]), word(left, 22, "", { class: "value" }));
        }
        const span = group.querySelector(".span"), mark = group.querySelector(".moves"), said = group.querySelector(".value");
        span.setAttribute("x1", x(low)); span.setAttribute("x2", x(high));
        mark.style.transform = `translate(${x(value)}px, 44px)`;
        said.textContent = spanned([value, low, high]);
        const single = column === null || name !== "AUROC" ? [] : way.splits.map((own) => own[column]);
        group.querySelector(".single").replaceChildren(...single.map((v) => line(x(v), 54, x(v), 63, colour, { "stroke-width": 1.5, opacity: 0.6 })));
      }
    }
  }

  // ---- the cells
  class Cells extends Instrument {
    kept = ["source", "arm", "subject", "kind", "order", "view", "mark"];
    page = 0;
    chosen = -1;
    constructor(root) {
      super(root);
      this.rows = this.place("sheet");
      all("[data-turn]", root).forEach((button) => button.addEventListener("click", () => { this.page += +button.dataset.turn; this.show(); }));
      this.rows.addEventListener("click", (event) => {
        const button = event.target.closest("button");
        if (button) { this.choose(+button.dataset.cell); this.place("large").focus(); }
      });
      this.canvas = make("canvas", { role: "img" });
      this.canvas.addEventListener("click", (event) => this.pick(event));
      this.place("map").append(this.canvas, make("figcaption"));
      this.sheet = new Image();
      this.sheet.addEventListener("load", () => this.value("view") === "map" && this.drawMap());
    }
    get size() { return innerWidth < 600 ? 48 : 96; }
    enter() {
      const { source } = this, words = [["", `all ${source.subjects.length}`], ...source.subjects.map((name, i) => [i, name])];
      this.chosen = -1;
      this.page = 0;
      this.fill("arm", source.arms.map((name, i) => [i, name]));
      this.fill("subject", words);
      this.named.get("view").closest("label").hidden = !source.map;
      if (!source.map) this.set("view", "sheet");
      const marks = [["class", "class"], ["looks", "size and mean colour"], ...(source.pictures ? [["picture", "picture"]] : [])];
      this.fill("mark", source.colour[0] ? marks : marks.slice(0, 1));
      if (!this.faces) document.head.append(this.faces = make("style"));
      // Said once for all cells, since the address holds the pictures themselves.
      this.faces.textContent = source.pictures ? `.instrument .pictured .face { background-image: url("${source.pictures.address}"); }` : "";
      this.sheet.src = source.pictures ? source.pictures.address : "data:,";
      this.most = Math.max(...source.area.map((area) => area || 0), 1);
    }
    restore() {
      super.restore();
      const asked = readAddress().get("cell");
      if (asked) this.chosen = this.source.cell.findIndex((cell) => asked.length > 5 && cell.startsWith(asked));
      this.page = this.chosen >= 0 ? Math.max(0, Math.floor(this.order().indexOf(this.chosen) / this.size)) : 0;
    }
    changed(name, quietly) { this.page = 0; super.changed(name, quietly); }
    scores() { return this.source.scores[+this.value("arm")] || this.source.scores[0]; }
    isALL(i) { return this.source.label[i] === 0; }
    calledALL(i) { return this.scores()[i] >= 5000; }
    isWrong(i) { return this.isALL(i) !== this.calledALL(i); }
    // The cells that are asked for, in the order that is asked for.
    order() {
      const { source } = this, scores = this.scores(), subject = this.value("subject"), kind = this.value("kind");
      const wanted = { every: () => true, wrong: (i) => this.isWrong(i), missed: (i) => this.isALL(i) && !this.calledALL(i),
        alarm: (i) => !this.isALL(i) && this.calledALL(i), ALL: (i) => this.isALL(i), HEM: (i) => !this.isALL(i) }[kind] || (() => true);
      const error = (i) => Math.abs(scores[i] - (this.isALL(i) ? 10000 : 0));
      const by = { error: (i) => -error(i), high: (i) => -scores[i], low: (i) => scores[i], size: (i) => -(source.area[i] || 0),
        subject: (i) => source.subject[i] }[this.value("order")] || (() => 0);
      const found = source.cell.map((_, i) => i).filter((i) => (subject === "" || source.subject[i] === +subject) && wanted(i));
      return found.sort((a, b) => by(a) - by(b) || a - b);
    }
    describe(i) {
      const { source } = this;
      return `${this.isALL(i) ? "ALL" : "HEM"}, subject ${source.subjects[source.subject[i]]}, score ${score(this.scores()[i] / 10000)}, called ${this.calledALL(i) ? "ALL" : "HEM"}, ${this.isWrong(i) ? "wrongly" : "rightly"}`;
    }
    // A picture where there is one, otherwise a disc of the cell's area in its mean colour.
    face(i, side) {
      const { pictures, area, colour } = this.source, node = make("span", { class: "face" });
      node.style.width = node.style.height = `${side}px`;
      if (pictures) {
        const x = i % pictures.columns, y = Math.floor(i / pictures.columns);
        node.style.backgroundSize = `${pictures.columns * side}px ${pictures.rows * side}px`;
        node.style.backgroundPosition = `${-x * side}px ${-y * side}px`;
        return node;
      }
      const disc = make("span", { class: "disc" }), across = area[i] ? Math.sqrt(area[i] / this.most) * side * 0.94 : side * 0.6;
      disc.style.width = disc.style.height = `${across}px`;
      disc.style.background = colour[i] ? `#${colour[i]}` : "#9aa0aa";
      node.append(disc);
      return node;
    }
    show() {
      const order = this.order(), pages = Math.max(1, Math.ceil(order.length / this.size)), map = this.value("view") === "map";
      this.page = Math.min(pages - 1, Math.max(0, this.page));
      const first = this.page * this.size, shown = order.slice(first, first + this.size), wrong = order.filter((i) => this.isWrong(i)).length;
      this.tell(order.length ? `${count(order.length)} cells, ${count(wrong)} of them called wrongly by ${this.source.arms[+this.value("arm")]}.` : "No such cell.");
      this.place("range").textContent = order.length ? `${count(first + 1)} to ${count(first + shown.length)} of ${count(order.length)}` : "none";
      this.root.querySelector("[data-turn='-1']").disabled = this.page === 0;
      this.root.querySelector("[data-turn='1']").disabled = this.page === pages - 1;
      this.root.querySelector(".turn").hidden = map;
      this.rows.hidden = map;
      this.place("map").hidden = !map;
      this.named.get("mark").closest("label").hidden = !map || this.named.get("mark").options.length < 2;
      this.showKey(map, order);
      if (map) this.drawMap(); else this.rows.replaceChildren(...shown.map((i) => this.tile(i)));
      this.showLarge();
      this.write();
    }
    write() {
      const chosen = Object.fromEntries(this.kept.filter((name) => this.value(name) && (this.named.get(name).selectedIndex > 0 || name === "source")).map((name) => [name, this.value(name)]));
      writeAddress(this.chosen >= 0 ? { ...chosen, cell: this.source.cell[this.chosen] } : chosen);
    }
    tile(i) {
      const kinds = ["tile", this.isALL(i) ? "round" : "square", this.isWrong(i) ? "wrong" : "", this.source.pictures ? "pictured" : "", i === this.chosen ? "chosen" : ""];
      const node = make("button", { type: "button", class: kinds.filter(Boolean).join(" "), title: this.describe(i) }, this.face(i, this.source.pictures ? 46 : 56));
      node.dataset.cell = i;
      node.setAttribute("aria-label", this.describe(i));
      node.setAttribute("aria-pressed", String(i === this.chosen));
      return node;
    }
    showKey(map, order) {
      const { colours } = this.data, looks = this.value("mark"), plain = map && looks === "class";
      const sign = (kind, colour, text) => make("span", { class: "sign" }, draw("svg", { width: 18, height: 18, "aria-hidden": "true" },
        kind === "round" ? draw("circle", { cx: 9, cy: 9, r: 6, fill: plain ? colour : "none", stroke: colour, "stroke-width": 2.5 })
          : kind === "square" ? draw("rect", { x: 3, y: 3, width: 12, height: 12, fill: plain ? colour : "none", stroke: colour, "stroke-width": 2.5 })
            : draw("path", { d: "M4 4L14 14M14 4L4 14", stroke: colour, "stroke-width": 2.5 })), ` ${text}`);
      this.place("key").replaceChildren(sign("round", colours.ALL, "ALL"), sign("square", colours.HEM, "HEM"), map && order.length > 600 ? "Crosses on those called wrongly where at most 600 cells are shown." : sign("cross", "#b3412e", "called wrongly"));
    }
    choose(i) { this.chosen = i; this.show(); }
    step(by) {
      const order = this.order(), at = order.indexOf(this.chosen), next = order[(at + by + order.length) % order.length];
      this.page = Math.floor(order.indexOf(next) / this.size);
      this.choose(next);
    }
    showLarge() {
      const place = this.place("large"), { source } = this, i = this.chosen;
      place.hidden = i < 0;
      if (i < 0) return place.replaceChildren();
      const [fold, image, number] = source.origin[i] || [], name = [image === null || image === undefined ? "" : `image ${image}`, number === null || number === undefined ? "" : `cell ${number}`, fold === null || fold === undefined ? "" : `fold ${fold}`].filter(Boolean).join(", ");
      const facts = [["class", this.isALL(i) ? "ALL" : "HEM"], ["subject", source.subjects[source.subject[i]]],
        ...source.arms.map((arm, a) => [arm, `${score(source.scores[a][i] / 10000)}: ${source.scores[a][i] >= 5000 ? "ALL" : "HEM"}${source.scores[a][i] >= 5000 === this.isALL(i) ? "" : ", wrongly"}`]),
        ...(source.area[i] ? [["area", `${count(Math.round(source.area[i]))} px² of a frame of 450 px`]] : []),
        ...(name ? [["its name says", name]] : []), ["digest of its file", `${source.cell[i]}…`]];
      const list = make("dl", {}, ...facts.flatMap(([what, value]) => [make("dt", {}, what), make("dd", {}, value)]));
      const button = (text, act) => { const node = make("button", { type: "button" }, text); node.addEventListener("click", act); return node; };
      const face = make("div", { class: `paper ${this.isALL(i) ? "round" : "square"} ${source.pictures ? "pictured" : ""}` }, this.face(i, innerWidth < 600 ? 150 : 200));
      const turn = make("div", { class: "turn" }, button("Previous", () => { this.step(-1); this.place("large").focus(); }), button("Next", () => { this.step(1); this.place("large").focus(); }), button("Close", () => this.choose(-1)));
      place.replaceChildren(face, make("div", {}, make("h2", { class: "chosen-cell" }, this.describe(i)), list, turn), ...this.mapsOf(i));
    }
    // Where the network of the study's explanation looks on this cell, and in any case the way to that page.
    mapsOf(i) {
      const { source } = this, drawn = (source.mapped || {})[i] || [];
      if (!source.maps && !drawn.length) return [];
      const page = source.maps ? make("a", { href: source.maps }, "Where the network looks") : "Where the network looks";
      if (!drawn.length) return [make("p", { class: "about" }, page, " has maps of some of these cells, and none of this one.")];
      const pictures = drawn.map(([name, address]) => make("figure", {}, make("img", { src: address, alt: `${name} of this cell` }), make("figcaption", {}, name)));
      return [make("div", { class: "cell-maps" }, make("div", { class: "pictures" }, ...pictures), make("p", { class: "about" }, page, ": blue speaks for the class that the network called, orange against it. White: the outline of the cell."))];
    }
    // ---- the map
    drawMap() {
      const { source, canvas } = this, { x, y, shares, of } = source.map, looks = this.value("mark"), order = this.order();
      const wide = this.roomOf("map", 900), high = Math.round(Math.min(620, wide * 0.8)), ratio = devicePixelRatio || 1, edge = looks === "picture" ? 48 : 30;
      canvas.width = wide * ratio; canvas.height = high * ratio;
      canvas.style.width = `${wide}px`; canvas.style.height = `${high}px`;
      const pen = canvas.getContext("2d"), { ALL, HEM } = this.data.colours, most = Math.min(44, Math.max(14, 700 / Math.sqrt(order.length)));
      pen.scale(ratio, ratio);
      pen.fillStyle = "#fff"; pen.fillRect(0, 0, wide, high);
      pen.fillStyle = "#4b515c"; pen.font = "13px system-ui, sans-serif"; pen.textAlign = "center";
      pen.fillText(`first component, ${share(shares[0])} of the variance`, wide / 2, high - 6);
      pen.save(); pen.translate(13, high / 2); pen.rotate(-Math.PI / 2); pen.fillText(`second component, ${share(shares[1])}`, 0, 0); pen.restore();
      this.at = (i) => [edge + x[i] / 1000 * (wide - 2 * edge), high - edge - y[i] / 1000 * (high - 2 * edge)];
      const half = (i) => (looks === "class" ? (order.length > 1500 ? 2.6 : 4) : Math.max(2, Math.sqrt((source.area[i] || this.most / 3) / this.most) * most / 2));
      const outline = (i, reach) => { const [px, py] = this.at(i); pen.beginPath(); if (this.isALL(i)) pen.arc(px, py, reach, 0, 7); else pen.rect(px - reach, py - reach, 2 * reach, 2 * reach); };
      pen.globalAlpha = looks === "class" && order.length > 1500 ? 0.6 : 0.9;
      for (const i of [...order].sort((a, b) => a - b)) {
        const [px, py] = this.at(i), colour = this.isALL(i) ? ALL : HEM;
        if (looks === "picture" && source.pictures && this.sheet.naturalWidth) {
          const { size, columns } = source.pictures;
          pen.save(); outline(i, most / 2); pen.clip();
          pen.drawImage(this.sheet, i % columns * size, Math.floor(i / columns) * size, size, size, px - most / 2, py - most / 2, most, most);
          pen.restore();
          pen.strokeStyle = colour; pen.lineWidth = 1.5; outline(i, most / 2); pen.stroke();
          continue;
        }
        pen.fillStyle = looks === "class" || !source.colour[i] ? colour : `#${source.colour[i]}`;
        outline(i, half(i)); pen.fill();
        if (looks !== "class") { pen.strokeStyle = colour; pen.lineWidth = 1; pen.stroke(); }
      }
      pen.globalAlpha = 1;
      for (const i of this.crossed(order)) {
        const [px, py] = this.at(i);
        pen.strokeStyle = "#b3412e"; pen.lineWidth = 1.2; pen.beginPath(); pen.moveTo(px - 3, py - 3); pen.lineTo(px + 3, py + 3); pen.moveTo(px + 3, py - 3); pen.lineTo(px - 3, py + 3); pen.stroke();
      }
      if (this.chosen >= 0) { pen.strokeStyle = "#22262e"; pen.lineWidth = 3; outline(this.chosen, Math.max(9, looks === "picture" ? most / 2 + 3 : half(this.chosen) + 5)); pen.stroke(); }
      canvas.setAttribute("aria-label", `Map of ${count(order.length)} cells by the first two principal components of an embedding; the same cells are listed under Show as: cells beside each other`);
      this.place("map").querySelector("figcaption").textContent = `Principal components (PCA) of ${count(source.map.features)} features of ${of}. Touch or click a cell to see it large.`;
    }
    // Crosses on a thousand cells hide what they are on.
    crossed(order) { return order.length > 600 ? [] : order.filter((i) => this.isWrong(i)); }
    pick(event) {
      const box = this.canvas.getBoundingClientRect(), [px, py] = [event.clientX - box.left, event.clientY - box.top];
      let best = -1, least = 400;
      for (const i of this.order()) {
        const [x, y] = this.at(i), far = (x - px) ** 2 + (y - py) ** 2;
        if (far < least) { least = far; best = i; }
      }
      if (best >= 0) this.choose(best);
    }
  }

  const kinds = { operating: Operating, leakage: Leakage, cells: Cells };
  for (const root of all(".instrument[data-instrument]")) {
    const Kind = kinds[root.dataset.instrument];
    if (Kind) new Kind(root).start();
  }
})();
