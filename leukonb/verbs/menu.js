// The menu of the site, once for all its pages: each of them has a line for a section, and here the lines are opened.
((rows) => {
  "use strict";
  const root = document.currentScript.src;
  const list = document.querySelector("#quarto-sidebar .sidebar-menu-container > ul");
  if (!list) return;
  const here = location.href.replace(/[?#].*$/, "").replace(/\/$/, "/index.html");
  const add = (within, tag, kinds, given = {}) => {
    const made = document.createElement(tag);
    made.className = kinds;
    for (const [name, value] of Object.entries(given)) made.setAttribute(name, value);
    within.append(made);
    return made;
  };
  list.replaceChildren();
  const lists = [list], buttons = [[]];
  rows.forEach(([depth, text, link], i) => {
    lists.length = buttons.length = depth + 1;
    const item = add(lists[depth], "li", "sidebar-item" + (link ? "" : " sidebar-item-section"));
    const box = add(item, "div", "sidebar-item-container");
    const opens = { "data-bs-toggle": "collapse", "data-bs-target": `#menu-${i}`, role: "button", tabindex: 0, "aria-expanded": false };
    const line = add(box, "a", "sidebar-item-text sidebar-link" + (link ? "" : " text-start"), link ? { href: new URL(link, root).href } : opens);
    add(line, "span", "menu-text").textContent = text;
    if (!link) {
      const arrow = add(box, "a", "sidebar-item-toggle text-start collapsed", { ...opens, "aria-label": `Show or hide ${text}` });
      add(arrow, "i", "bi bi-chevron-right ms-2");
      lists.push(add(item, "ul", `collapse list-unstyled sidebar-section depth${depth + 1}`, { id: `menu-${i}` }));
      buttons.push([line, arrow]);
    } else if (line.href === here) {
      line.classList.add("active");
      line.setAttribute("aria-current", "page");
      lists.slice(1).forEach((within) => within.classList.add("show"));
      for (const button of buttons.flat()) { button.setAttribute("aria-expanded", true); button.classList.remove("collapsed"); }
    }
  });
})(ROWS);
