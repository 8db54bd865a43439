/* Tables that sort, filter and search: Grid.js over the plain tables, which stay as they are without it. */
"use strict";

(() => {
  const { address, element, menu, load, edges, explain } = orthobench;
  const LONG = 60; // characters: a cell that breaks into lines
  const PAGE = 50; // rows shown at once
  const ALL = "all";

  /* Order numbers before what has none, and that by its text; -1, 0 or 1, for Grid.js joins results by bits. */
  function compare(one, other) {
    const a = one.s, b = other.s;
    if (a === undefined && b === undefined) return words(one).localeCompare(words(other), undefined, { numeric: true });
    if (a === undefined) return 1;
    if (b === undefined) return -1;
    return Math.sign(a - b);
  }

  /* All that a cell says. */
  const words = (cell) => [cell.t, ...(cell.c || [])].join(" ");

  function show(cell) {
    if (!cell || cell.t === undefined) return cell;
    const name = cell.h ? gridjs.h("a", { href: cell.h }, cell.t) : cell.t;
    if (!cell.c) return name;
    const chips = cell.c.flatMap((text) => [" ", gridjs.h("span", { className: "chip" }, text)]);
    return [name, gridjs.h("span", { className: "chips" }, chips)];
  }

  /* Read a plain table as the data files have them. */
  function read(box) {
    const table = box.querySelector("table");
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => {
      const link = cell.querySelector("a");
      const chips = [...cell.querySelectorAll(".chip")].map((each) => each.textContent);
      const told = { t: chips.length ? cell.firstChild.textContent : cell.textContent };
      if (chips.length) told.c = chips;
      if (cell.dataset.sort !== undefined) told.s = Number(cell.dataset.sort);
      if (link) told.h = link.getAttribute("href");
      if (cell.className) told.m = cell.className;
      return told;
    }));
    return {
      key: table.id,
      caption: table.caption.textContent,
      columns: [...table.tHead.rows[0].cells].map((cell) => cell.textContent),
      rows,
      filters: box.dataset.filters ? box.dataset.filters.split("|") : [],
      words: box.dataset.words,
      about: (table.caption.querySelector(".term") || { textContent: "" }).textContent,
    };
  }

  /* The caption of a table; the metric that it begins with explains itself. */
  function titled(own) {
    const caption = element("p", { className: "caption", id: `${own.key}-caption` });
    const about = own.about || "";
    const term = element("button", { type: "button", className: "term", textContent: about });
    caption.append(term, own.caption.slice(about.length));
    explain(caption, "metric");
    if (!term.dataset.tip) term.replaceWith(about);
    return caption;
  }

  /* Give what Grid.js has drawn the meaning of a table: it calls one a grid, and its box a landmark. */
  function mark(holder, caption, own) {
    const table = holder.querySelector("table");
    if (!table) return;
    holder.querySelectorAll("[role=complementary], [role=grid]").forEach((each) => each.removeAttribute("role"));
    if (caption.isConnected) table.setAttribute("aria-labelledby", caption.id);
    else table.setAttribute("aria-label", own.caption);
    table.querySelectorAll("th").forEach((header) => {
      const order = ["asc", "desc"].find((each) => header.querySelector(`.gridjs-sort-${each}`));
      header.scope = "col";
      header.setAttribute("aria-sort", order ? `${order}ending` : "none");
    });
    explain(table, own.words);
    edges(table.parentNode);
  }

  /* The columns that an address sorts a table by: their names, after a minus in falling order. */
  function sorted(key, columns) {
    return address.all(`${key}.sort`).map((text) => {
      const rising = columns.includes(text);
      return { index: columns.indexOf(rising ? text : text.replace(/^-/, "")), direction: rising ? 1 : -1, compare };
    }).filter((each) => each.index >= 0);
  }

  /* Begin with the sort, search and page that the address has for a table, and keep there what is chosen. */
  function remember(grid, holder, key, columns) {
    const { pipeline, store } = grid.config;
    const steps = pipeline.steps.length + 1 + Boolean(grid.config.search) + Boolean(grid.config.pagination);
    const sort = sorted(key, columns), keyword = address.get(`${key}.search`);
    let wanted = Number(address.get(`${key}.page`)) || 1;
    store.dispatch((state) => ({ ...state, sort: { columns: sort }, search: keyword ? { keyword } : undefined }));

    const pages = () => [...holder.querySelectorAll(".gridjs-pages button")].filter((each) => Number(each.textContent));
    const page = () => Number(holder.querySelector(".gridjs-currentPage")?.textContent) || 1;
    const has = (part) => holder.querySelector(`.gridjs-${part}`) !== null;

    /* Grid.js begins with the first page, whatever it is told: turn as a reader does, by the nearest button. */
    function turning() {
      const near = pages().filter((each) => Number(each.textContent) <= wanted).at(-1);
      if (wanted === 1 || has("notfound") || (near && Number(near.textContent) === page())) return false;
      near?.click(); // without one, rows are not counted yet
      return true;
    }

    function keep() {
      if (!holder.isConnected || has("loading-bar") || pipeline.steps.length < steps || turning()) return;
      wanted = 1;
      const { sort: own, search } = store.getState();
      const names = own.columns.map(({ index, direction }) => (direction < 0 ? "-" : "") + columns[index]);
      address.set(`${key}.sort`, names);
      address.set(`${key}.search`, (search && search.keyword) || null);
      address.set(`${key}.page`, page() > 1 ? page() : null);
    }

    const soon = () => setTimeout(keep); // once it is drawn
    store.subscribe(soon);
    holder.addEventListener("click", soon);
  }

  /* Draw a table into a box, in the place of what was there; `key` is what its part of the address begins with. */
  function draw(box, own, key = own.key) {
    const chosen = new Map();
    const holder = element("div");
    const controls = element("div", { className: "controls" });
    const shown = () => own.rows.filter((row) => [...chosen].every(([place, text]) => row[place].t === text));
    const settings = () => ({
      columns: own.columns.map((name, place) => ({
        id: String(place),
        name,
        sort: { compare, direction: sorted(key, own.columns).find((each) => each.index === place)?.direction },
        formatter: show,
        attributes: (cell) => (!cell || cell.t === undefined ? {} : { // a header, or a message
          className: ["gridjs-td", cell.m, cell.t.length > LONG ? "long" : ""].filter(Boolean).join(" "),
        }),
      })),
      data: shown(),
      pagination: own.rows.length > PAGE ? { limit: PAGE } : false,
    });
    function fill() {
      const grid = new gridjs.Grid({
        ...settings(),
        sort: true,
        autoWidth: false,
        search: own.rows.length > 3 ? { selector: words } : false,
        language: { search: { placeholder: "Search in the table" } },
      });
      const place = element("div");
      holder.replaceChildren(place);
      remember(grid, place, key, own.columns);
      grid.render(place);
    }
    own.filters.forEach((name) => {
      const place = own.columns.indexOf(name);
      const values = [...new Set(own.rows.map((row) => row[place].t))].sort();
      if (values.length < 2) return;
      const first = values.indexOf(address.get(`${key}.${name}`));
      if (first >= 0) chosen.set(place, values[first]);
      controls.append(menu(name, [ALL, ...values], first + 1, (number) => {
        if (number) chosen.set(place, values[number - 1]);
        else chosen.delete(place);
        address.set(`${key}.${name}`, number ? values[number - 1] : null);
        address.set(`${key}.page`, null);
        fill();
      }).node);
    });
    const caption = titled(own);
    new MutationObserver(() => mark(holder, caption, own)).observe(
      holder, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] },
    );
    box.replaceChildren(caption, controls, holder);
    box.id = own.key;
    fill();
  }

  /* The leaderboard of a benchmark's page: any machine, data set and metric. */
  function board(index) {
    const boxes = [...document.querySelectorAll("[data-board]")];
    if (!boxes.length || !index) return;
    boxes.slice(1).forEach((box) => box.remove());
    const [box] = boxes;
    const heading = box.querySelector("h3");
    const target = box.querySelector(".table");
    const controls = element("div", { className: "controls" });
    const link = element("a");
    const state = {};

    /* Take what the address says of the menus. */
    function restore() {
      const machine = index.machines.findIndex((each) => each.name === address.get("board.machine"));
      state.machine = Math.max(0, machine);
      const [data, objective] = [address.get("board.data"), address.get("board.objective")];
      const place = index.machines[state.machine].boards.findIndex((each) => (
        each.data === data && (objective === null || each.objective === objective)
      ));
      state.board = Math.max(0, place);
      state.metric = address.get("board.metric");
      return update();
    }

    /* Keep the menus in the address, and nothing of the table that was there. */
    function changed() {
      address.clear("board.");
      const { name, boards } = index.machines[state.machine];
      const chosen = boards[state.board];
      const first = boards.find((each) => each.data === chosen.data);
      if (state.machine) address.set("board.machine", name);
      if (state.board) address.set("board.data", chosen.data);
      if (first !== chosen) address.set("board.objective", chosen.objective);
      if (state.metric !== chosen.first && state.metric in chosen.metrics) address.set("board.metric", state.metric);
      update();
    }

    async function update() {
      const machine = index.machines[state.machine];
      const chosen = machine.boards[state.board];
      const metrics = Object.keys(chosen.metrics);
      if (!metrics.includes(state.metric)) state.metric = chosen.first;
      const menus = [];
      if (index.machines.length > 1) {
        menus.push(menu("machine", index.machines.map((each) => each.name), state.machine, (place) => {
          Object.assign(state, { machine: place, board: 0 });
          changed();
        }));
      }
      menus.push(menu("data set", machine.boards.map((each) => each.label), state.board, (place) => {
        state.board = place;
        changed();
      }));
      menus.push(menu("metric", Object.values(chosen.metrics), metrics.indexOf(state.metric), (place) => {
        state.metric = metrics[place];
        changed();
      }));
      const focused = [...controls.querySelectorAll("select")].indexOf(document.activeElement);
      controls.replaceChildren(...menus.map((each) => each.node), link);
      if (focused >= 0) menus[focused].select.focus();
      link.href = chosen.rows;
      link.textContent = "All metrics and rows of this data set";
      heading.textContent = `${chosen.metrics[state.metric]} on ${chosen.label} (${machine.name})`;
      const tables = await load(chosen.file);
      draw(target, tables[state.metric], "board");
      target.dataset.shown = `${machine.slug} ${chosen.label} ${state.metric}`;
    }
    heading.before(controls);
    restore();
    address.watch(restore);
  }

  orthobench.table = draw;
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".table").forEach((box) => {
      if (box.closest("[data-board]")) return;
      const own = read(box);
      draw(box, own);
      address.watch(() => draw(box, own));
    });
    const name = document.querySelector("[data-board]") && location.pathname.split("/").slice(-2)[0];
    if (name) load(`${decodeURIComponent(name)}/index`).then(board);
  });
})();
