// What a page does once it has been read: figures are drawn as they come near, wide tables can be scrolled by keyboard,
// and the search looks in a script, since a page in a folder may fetch no file.
(() => {
  "use strict";
  const root = new URL(".", document.currentScript.src).href;
  const all = (what, within = document) => [...within.querySelectorAll(what)];

  // ---- commands: an option is one word, and a line does not break within it
  for (const code of all(":not(pre) > code"))
    if (!code.childElementCount && /(^|\s)-/.test(code.textContent))
      code.replaceChildren(...code.textContent.split(/(\s+)/).map((word) => {
        if (!word.startsWith("-")) return word;
        const option = document.createElement("span");
        option.className = "option";
        option.textContent = word;
        return option;
      }));

  // ---- figures
  const touched = matchMedia("(pointer: coarse)").matches;
  const places = all(".plotly-graph-div").filter((place) => place.id);
  const narrow = matchMedia("(max-width: 600px)");
  const words = (html) => new DOMParser().parseFromString(html.replace(/<br ?\/?>/g, " "), "text/html").body.textContent;
  // Lines of at most so many letters; what is no plain text stays as it is.
  const wrap = (text, most) => {
    if (typeof text !== "string" || text.length <= most || /<(?!br)/.test(text)) return text;
    const lines = [""];
    for (const word of text.split(/<br ?\/?>| +/)) {
      const last = lines.length - 1;
      if (lines[last] && lines[last].length + word.length >= most) lines.push(word);
      else lines[last] += (lines[last] && " ") + word;
    }
    return lines.join("<br>");
  };
  const letters = (pixels, size) => Math.max(8, Math.floor(pixels / (0.56 * size)));
  // A narrow screen has the title of a figure as a line of the page; no figure is wider than the screen.
  const narrowed = (figure, place) => {
    const { layout } = figure, column = place.closest(".cell-output, figure, main");
    const room = column.clientWidth || innerWidth;
    for (let at = place; at !== column; at = at.parentElement) { at.style.width = "100%"; at.style.height = "auto"; }
    if (layout.width > room) {
      layout.height = Math.round((layout.height || 450) * Math.max(0.8, room / layout.width));
      delete layout.width;
    }
    place.style.height = `${layout.height || 450}px`;
    const within = layout.legend && layout.legend.x >= 0 && layout.legend.y <= 1;
    if (within) layout.legend = { ...layout.legend, orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" };
    const title = layout.title && layout.title.text;
    if (title) {
      const line = document.createElement("p");
      line.className = "figure-title";
      line.textContent = words(title);
      place.before(line);
      layout.title = { ...layout.title, text: "" };
    }
    for (const trace of figure.data) if (trace.name) trace.name = wrap(trace.name, letters(room - 60, 12));
  };
  // Titles of axes as long as their axis; names beside it no wider than half the screen, and below it than their share.
  const axesFitted = (place) => {
    const full = place._fullLayout, change = {};
    let higher = 0;
    for (const key of Object.keys(full).filter((name) => /^[xy]axis\d*$/.test(name))) {
      const axis = full[key], upright = key[0] === "y";
      const title = (place.layout[key] || {}).title;
      if (title && title.text) change[`${key}.title.text`] = wrap(title.text, Math.max(14, letters(axis._length, 1.1 * axis.title.font.size)));
      const at = axis.type === "category" ? axis._categories : axis.tickvals;
      const said = axis.tickmode === "array" && axis.ticktext ? axis.ticktext : axis.type === "category" && at;
      if (!said || !at || said.length > (upright ? 80 : 8)) continue;
      const room = upright ? 0.42 * full.width : axis._length / said.length;
      const wrapped = [...said].map((name) => wrap(name, letters(room, axis.tickfont.size)));
      if (wrapped.every((name, i) => name === said[i])) continue;
      Object.assign(change, { [`${key}.tickmode`]: "array", [`${key}.tickvals`]: [...at], [`${key}.ticktext`]: wrapped });
      if (!upright) continue;
      const most = Math.max(...wrapped.map((name) => String(name).split("<br>").length));
      higher = Math.max(higher, 1.35 * axis.tickfont.size * most * said.length - axis._length);
    }
    // Titles of panels: from the left edge where there is one column, else in lines as wide as their panel.
    const titles = (full.annotations || []).map((note, i) => [note, `annotations[${i}]`])
      .filter(([note]) => note.xref === "paper" && note.yref === "paper" && !note.showarrow);
    const columns = new Set(titles.map(([note]) => note.x)).size;
    for (const [note, at] of titles) {
      const most = letters(columns > 1 ? full._size.w / columns : full.width - 20, 12);
      Object.assign(change, { [`${at}.font.size`]: 12, [`${at}.text`]: wrap(note.text, most) });
      if (columns === 1) Object.assign(change, { [`${at}.x`]: 0, [`${at}.xanchor`]: "left" });
    }
    if (higher > 0) change.height = Math.round(full.height + higher);
    return change;
  };
  // On a wide screen, too, a title beside a figure is no longer than the figure is high.
  const titlesFitted = (place) => {
    const full = place._fullLayout, change = {};
    for (const key of Object.keys(full).filter((name) => /^yaxis\d*$/.test(name))) {
      const axis = full[key], text = ((place.layout[key] || {}).title || {}).text;
      if (!text) continue;
      const wrapped = wrap(text, Math.max(14, letters(axis._length, axis.title.font.size)));
      if (wrapped !== text) change[`${key}.title.text`] = wrapped;
    }
    return change;
  };
  const draw = (place) => {
    const data = document.querySelector(`script[data-figure="${CSS.escape(place.id)}"]`);
    if (!data || place.dataset.drawn || !window.Plotly) return;
    place.dataset.drawn = "yes";
    const figure = JSON.parse(data.textContent);
    if (touched) {
      // A swipe over a figure scrolls the page: nothing in it takes hold of the finger.
      figure.layout.dragmode = false;
      for (const key of [...Object.keys(figure.layout), "xaxis", "yaxis"]) {
        if (/^[xy]axis\d*$/.test(key)) figure.layout[key] = { ...figure.layout[key], fixedrange: true };
      }
    }
    if (narrow.matches) narrowed(figure, place);
    const drawn = window.Plotly.newPlot(place, figure.data, figure.layout, {
      displaylogo: false, displayModeBar: narrow.matches ? false : "hover", responsive: true, scrollZoom: false,
      plotlyServerURL: "",
      modeBarButtons: [["toImage"]],
      toImageButtonOptions: { format: "svg", filename: place.id.replace(/^figure-/, "") },
    });
    // The pictures that Plotly draws say nothing by themselves; the name and the sentence of the figure do.
    const hide = () => all("svg", place).forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    hide();
    if (!narrow.matches) drawn.then(() => {
      const change = titlesFitted(place);
      return Object.keys(change).length && window.Plotly.relayout(place, change).then(hide);
    });
    if (narrow.matches) drawn.then(() => {
      const change = axesFitted(place);
      if (change.height) place.style.height = `${change.height}px`;
      return window.Plotly.relayout(place, change);
    }).then(() => {
      const { _size: size, showlegend, legend, annotations } = place._fullLayout, change = {};
      // The key above a figure and the titles of its panels begin at the screen's edge and not at the axis.
      if (showlegend && legend.y > 1) change["legend.x"] = Math.max(-2, -size.l / size.w);
      (annotations || []).forEach((note, i) => {
        if (note.xref === "paper" && note.x === 0 && !note.showarrow) change[`annotations[${i}].xshift`] = -size.l;
      });
      return window.Plotly.relayout(place, change);
    }).then(() => { hide(); place.dataset.drawn = "fitted"; });
  };
  const drawAll = () => places.forEach(draw);
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (isIntersecting) { near.unobserve(target); draw(target); }
    }
  }, { rootMargin: "800px 0px" });
  places.forEach((place) => near.observe(place));
  addEventListener("beforeprint", drawAll);
  matchMedia("print").addEventListener("change", (print) => print.matches && drawAll());

  // ---- what is wider than its column
  const frames = all(".table-wrap, main pre, main math[display=block]");
  // A short word, a date or a number is not broken in a table, and an interval not within its brackets.
  for (const cell of all("main .table-wrap td")) {
    const text = cell.textContent.trim();
    if (text.length <= 12) cell.classList.add("short");
    if (text.length > 24) cell.classList.add("long");
    const [, value, ends] = /^(-?[\d.,]+ ?%?) (\(.+ to .+\))$/.exec(text) || [];
    if (!ends || cell.children.length) continue;
    const kept = document.createElement("span");
    kept.className = "short";
    kept.textContent = ends;
    cell.replaceChildren(`${value} `, kept);
  }
  // A map has a key below it, on the pages of earlier records, too.
  for (const table of all("table.maps")) {
    const key = document.createElement("p"), bar = document.createElement("span");
    key.className = "map-key";
    bar.className = "map-bar";
    key.append("against the class called ", bar, " for it; black: neither. Each map reaches from its own weakest to its own strongest place. White: the outline of the cell.");
    (table.closest(".table-wrap") || table).after(key);
  }
  const nameOf = (frame) => {
    const caption = frame.querySelector("caption");
    let at = frame;
    while (!caption && at && !/^H[1-4]$/.test(at.tagName)) at = at.previousElementSibling || at.parentElement;
    return ((caption || at || { textContent: "" }).textContent.trim() || "wide content").slice(0, 120);
  };
  const label = (table) => {
    const heads = all("thead tr:last-child > *", table).map((cell) => cell.textContent.trim());
    table.setAttribute("role", "table");
    for (const row of all("tr", table)) {
      row.setAttribute("role", "row");
      [...row.children].forEach((cell, i) => {
        cell.setAttribute("role", cell.tagName === "TD" ? "cell" : cell.parentElement.parentElement.tagName === "THEAD" ? "columnheader" : "rowheader");
        if (heads[i]) cell.dataset.label = heads[i];
        // The grid of a stacked row has one place for what a cell holds, be it a value and its interval or words around code.
        if (cell.childNodes.length > 1) {
          const held = document.createElement("span");
          held.append(...cell.childNodes);
          cell.append(held);
        }
      });
    }
  };
  const fit = (frame) => {
    const table = frame.querySelector("table");
    frame.classList.remove("wide");  // which gives words more room, so that it would measure itself
    if (table) {
      table.classList.remove("stacked", "brief");
      const rows = table.rows.length, wide = frame.scrollWidth > frame.clientWidth + 1;
      // Maps beside their cell are compared along a row, so they scroll and are not stacked; so does a table that would be
      // dozens of screens high.
      if (narrow.matches && wide && rows * table.rows[0].cells.length <= 320 && table.tHead && !table.classList.contains("maps")) { label(table); table.classList.add("stacked"); }
      // A list of many runs is short where each is a line or two that say all that its row does.
      else if (narrow.matches && wide && frame.closest(".runs-list")) { label(table); table.classList.add("brief"); }
    }
    const wide = frame.clientWidth > 0 && frame.scrollWidth > frame.clientWidth + 1;
    frame.classList.toggle("wide", wide);
    // A pixel too much is no wide table, but a reader with a keyboard is told of whatever the browser lets scroll.
    const scrolls = frame.scrollWidth > frame.clientWidth || frame.scrollHeight > frame.clientHeight;
    if (frame.clientWidth > 0 && scrolls) {
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      frame.setAttribute("aria-label", `${nameOf(frame)} (can be scrolled)`);
    } else {
      ["tabindex", "role", "aria-label"].forEach((name) => frame.removeAttribute(name));
    }
  };
  const fitAll = () => frames.forEach(fit);
  fitAll();
  addEventListener("load", fitAll);
  addEventListener("resize", fitAll);
  document.addEventListener("toggle", (event) => all(".table-wrap, pre", event.target).forEach(fit), true);

  // ---- what is folded opens where a link leads into it, and in print
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target && target.querySelector(":scope > details.made")) target.querySelector(":scope > details.made").open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  // ---- buttons that are no buttons in HTML
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("a[role=button]:not([href])") && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      event.target.click();
    }
  });

  // ---- a button that copies a program
  for (const frame of all("main .code-copy-outer-scaffold")) {
    const button = document.createElement("button");
    button.className = "code-copy-button";
    button.title = "Copy this program";
    button.innerHTML = '<i class="bi" aria-hidden="true"></i>';
    button.addEventListener("click", () => navigator.clipboard.writeText(frame.querySelector("code").innerText).then(
      () => { button.classList.add("code-copy-button-checked"); button.title = "Copied"; },
      () => { button.title = "The browser lets no page copy here"; }));
    if (!frame.querySelector("button")) frame.append(button);
  }

  // ---- search
  const bar = ["#quarto-header .navbar-container", "#quarto-header .container-fluid", "header"]
    .map((what) => document.querySelector(what)).find(Boolean);
  if (!bar) return;
  const box = document.createElement("div");
  box.className = "site-search";
  box.setAttribute("role", "search");
  box.innerHTML = '<input type="search" class="form-control form-control-sm" placeholder="Search" ' +
    'aria-label="Search this site" autocomplete="off"><p class="visually-hidden" role="status"></p><ol hidden></ol>';
  bar.appendChild(box);
  const [input, said, list] = box.children;
  let asked = null;
  // One word however it is written: 0.916 and .916, 7,103 and 7103, leukaemia and leukemia.
  const fold = (text) => text.toLowerCase().replace(/aem/g, "em").replace(/(\d),(?=\d{3}(?!\d))/g, "$1")
    .replace(/(^|[^\d.])0(?=\.\d)/g, "$1");
  // What is found on a page of the program's code stands below what is found elsewhere.
  const ofCode = (address) => /^library\/(?!evidence\/|data\/|glossary)/.test(address);
  const index = () => asked || (asked = new Promise((done) => {
    const script = document.createElement("script");
    script.src = root + "search.js";
    script.onload = () => done((window.leukonbIndex || []).map(([address, page, title, text, more]) => (
      { address, page, title, text, more, code: ofCode(address), low: [page, title, text, more].map(fold) })));
    script.onerror = () => { asked = null; done(null); };
    document.head.appendChild(script);
  }));
  const rank = (entry, words) => {
    let sum = 0;
    for (const word of words) {
      const begins = new RegExp("(^|[^\\p{L}\\p{N}])" + word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "u");
      const found = [20, 12, 2, 1].reduce((best, worth, i) => Math.max(best, begins.test(entry.low[i]) ? worth : 0), 0);
      if (!found) return 0;
      sum += found;
    }
    const whole = words.join(" ");
    sum += (entry.low[1] === whole ? 20 : 0) + (entry.low[2].includes(whole) ? 2 : 0);
    return entry.code ? sum / 20 : sum;
  };
  // The sentence in which a word stands, and what follows; what only a table has is said to be there.
  const piece = ({ page, title, text, more }, words) => {
    const low = text.toLowerCase(), starts = [...text.matchAll(/(?:^|[.!?] )(?=\p{Lu}|\d)/gu)].map((m) => m.index + m[0].length);
    const at = Math.max(0, ...words.map((word) => low.indexOf(word)));
    const from = Math.max(0, ...starts.filter((start) => start <= at)), all = more.split(" ");
    const seen = fold(`${page} ${title} ${text}`), unseen = words.filter((word) => !seen.includes(word));
    const held = unseen.map((own) => all.find((word) => fold(word).startsWith(own))).filter(Boolean);
    return (held.length ? `With ${held.join(" and ")} in this part. ` : "") + text.slice(from, from + 200) + (text.length > from + 200 ? " …" : "");
  };
  const line = (entry, words) => {
    const item = document.createElement("li"), link = document.createElement("a"), where = document.createElement("strong");
    link.href = root + entry.address;
    where.textContent = entry.title ? `${entry.page}: ${entry.title}` : entry.page;
    link.append(where, " ", piece(entry, words));
    item.append(link);
    return item;
  };
  const look = async () => {
    const words = fold(input.value).split(/[^\p{L}\p{N}.\-]+/u).filter(Boolean);
    if (!words.length) { list.hidden = true; said.textContent = ""; return; }
    const entries = await index();
    const hits = (entries || []).map((entry) => [rank(entry, words), entry]).filter(([worth]) => worth)
      .sort((a, b) => b[0] - a[0]).slice(0, 20);
    said.textContent = entries ? `${hits.length || "No"} results` : "The index of the search is missing";
    list.replaceChildren(...hits.map(([, entry]) => line(entry, words)));
    if (!hits.length) list.innerHTML = `<li>${said.textContent}</li>`;
    list.hidden = false;
  };
  let waits = 0;
  input.addEventListener("focus", index);
  input.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(look, 120); });
  box.addEventListener("keydown", (event) => {
    const links = all("a", list), at = links.indexOf(document.activeElement);
    if (event.key === "Escape") { list.hidden = true; input.focus(); }
    if (event.key === "Enter" && event.target === input && links.length) links[0].click();
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && links.length) {
      event.preventDefault();
      (links[at + (event.key === "ArrowDown" ? 1 : -1)] || input).focus();
    }
  });
  document.addEventListener("click", (event) => { if (!box.contains(event.target)) list.hidden = true; });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) { event.preventDefault(); input.focus(); }
  });
})();
