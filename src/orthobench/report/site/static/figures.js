/* Plots: Plotly draws them as they come into view, in the page's colours; menus choose, boxes toggle methods.
   Of many methods some are shown at first; the one that the pointer or the keyboard is at stands out. */
"use strict";

(() => {
  const { address, element, menu, load } = orthobench;
  const NARROW = 700; // pixels: a legend has no room beside a plot
  const FADED = 0.15; // opacity of the others, where one method stands out
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  /* Names beside a narrow plot, in several lines. */
  function broken(names) {
    const lines = (name) => name.replace(" · ", "<br>").replace("[", "<br>[").replaceAll(",", ",<br>");
    return { tickvals: names, ticktext: names.map(lines), tickfont: { size: 9 } };
  }

  /* A long text in lines. */
  function wrapped(text, length) {
    const lines = [""];
    text.split(" ").forEach((word) => {
      if ((lines.at(-1) + word).length > length && lines.at(-1)) lines.push("");
      lines[lines.length - 1] += (lines.at(-1) && " ") + word;
    });
    return lines.join("<br>");
  }

  /* How many decades the figures along an axis span. */
  function decades(data, axis) {
    const own = data.flatMap((trace) => trace[axis]).filter((each) => each > 0);
    return own.length ? Math.log10(own.reduce((a, b) => Math.max(a, b)) / own.reduce((a, b) => Math.min(a, b))) : 0;
  }

  /* A logarithmic axis has 1, 2 and 5 on it where all digits would touch, and whole numbers where no power of ten may be. */
  const labelled = (count) => ({
    minexponent: 4, dtick: count > 0.9 && count < 4 ? "D2" : undefined, ...(count < 1 ? { tickformat: "~g" } : {}),
  });

  /* The layout of a figure with what depends on the page. */
  function dressed(layout, width, count) {
    const ink = variable("--ink"), line = variable("--line");
    const axis = (own) => ({
      ...own, gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true,
      exponentformat: "power", ...(own.type === "log" ? labelled(own.decades) : {}),
    });
    const narrow = width < NARROW;
    const titled = (own) => ({ ...own.title, text: wrapped((own.title && own.title.text) || "", narrow ? 30 : 45) });
    const names = layout.yaxis.type === "category" && narrow ? layout.names : null;
    const rows = Math.ceil(count / Math.max(1, Math.floor(width / 190)));
    return {
      ...layout,
      width,
      height: (names ? 1.6 : 1) * (layout.height || 460) + (narrow && count > 1 ? 19 * rows : 0),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: "system-ui, sans-serif" },
      margin: { l: 60, r: 15, t: 15, b: 50 },
      xaxis: axis(layout.xaxis),
      yaxis: { ...axis(layout.yaxis), title: titled(layout.yaxis), ...(names ? broken(names) : {}) },
      shapes: (layout.shapes || []).map((each) => ({ ...each, line: { ...each.line, color: ink } })),
      hoverlabel: { namelength: -1 },
      legend: narrow
        ? { orientation: "h", y: -0.22, yanchor: "top", x: 0, font: { size: 10 } }
        : { font: { size: 11 }, tracegroupgap: 0 },
    };
  }

  /* Pictures with their labels; one without a source is told by its label alone. */
  function pictured(pictures) {
    const cards = pictures.map(({ label, source, alt }) => {
      const card = element("div", {}, element("p", { textContent: label }));
      if (source) card.append(element("img", { src: source, alt }));
      return card;
    });
    return element("div", { className: "pictures" }, ...cards);
  }

  class Plot {
    constructor(node, name, machines, plots) {
      this.node = node;
      this.name = name;
      this.machines = machines.filter((each) => plots[each.slug]);
      this.plots = plots;
      this.highlighted = null;
      this.restore();
      this.controls = element("div", { className: "controls" });
      this.caption = element("div", { className: "caption" });
      this.count = element("span");
      this.all = element("button", { type: "button", className: "action" });
      this.all.addEventListener("click", () => this.hide(this.hidden.size ? new Set() : this.others()));
      this.some = element("div", { className: "controls some", hidden: true }, this.count, this.all);
      this.chart = element("div", { className: "chart" });
      this.toggles = element("details", { className: "toggles" });
      node.append(this.controls, this.caption, this.some, this.chart, this.toggles);
    }

    get own() {
      return this.plots[this.machines[this.machine].slug];
    }

    /* Take what the address says of the menus and of hidden methods. */
    restore() {
      const told = (key) => address.get(`${this.name}.${key}`);
      this.machine = Math.max(0, this.machines.findIndex((each) => each.name === told("machine")));
      const { choices, first, options } = this.own;
      const wanted = options.map(([label, , names], option) => {
        const place = names.indexOf(told(label));
        return place < 0 ? first[option] : place;
      });
      this.chosen = choices[wanted.join(",")] ? wanted : [...first];
      const hidden = address.all(`${this.name}.hidden`); // an empty name where none is
      this.hidden = new Set(hidden.filter(Boolean));
      this.shown = address.all(`${this.name}.shown`); // in place of what is hidden, where that is more
      this.touched = hidden.length + this.shown.length > 0; // whether the reader chose what is hidden
    }

    /* Keep that in the address, and nothing of a table that was there. */
    keep() {
      address.clear(`${this.name}.`);
      const { first, options } = this.own;
      if (this.machine) address.set(`${this.name}.machine`, this.machines[this.machine].name);
      options.forEach(([label, , names], option) => {
        if (this.chosen[option] !== first[option]) address.set(`${this.name}.${label}`, names[this.chosen[option]]);
      });
      if (!this.touched) return;
      if (this.groups) {
        const shown = this.groups.filter((each) => !this.hidden.has(each));
        this.shown = shown.length >= this.hidden.size ? [] : shown.length ? shown : [""];
      }
      if (this.shown.length) address.set(`${this.name}.shown`, this.shown);
      else address.set(`${this.name}.hidden`, this.hidden.size ? [...this.hidden] : [""]);
    }

    /* Take a choice; where there is no figure for it with the others, take the first that has it. */
    choose(option, place) {
      const wanted = [...this.chosen];
      wanted[option] = place;
      if (!this.own.choices[wanted.join(",")]) {
        const fitting = Object.keys(this.own.choices).map((key) => key.split(",").map(Number))
          .filter((key) => key[option] === place);
        const shared = (key) => key.filter((each, at) => each === wanted[at]).length;
        fitting.sort((one, other) => shared(other) - shared(one));
        if (fitting.length) this.chosen = fitting[0];
      } else {
        this.chosen = wanted;
      }
      this.keep();
      this.draw();
    }

    menus() {
      const focused = [...this.controls.querySelectorAll("select")].indexOf(document.activeElement);
      const menus = [];
      if (this.machines.length > 1) {
        menus.push(menu("machine", this.machines.map((each) => each.name), this.machine, (place) => {
          this.machine = place;
          this.chosen = [...this.own.first];
          this.keep();
          this.draw();
        }));
      }
      const keys = Object.keys(this.own.choices).map((key) => key.split(",").map(Number));
      this.own.options.forEach(([label, values], option) => {
        const useful = values.map((_, place) => keys.some((key) => key[option] === place));
        if (useful.filter(Boolean).length < 2) return;
        const made = menu(label, values, this.chosen[option], (place) => this.choose(option, place));
        [...made.select.options].forEach((each, place) => { each.hidden = each.disabled = !useful[place]; });
        menus.push(made);
      });
      this.controls.replaceChildren(...menus.map((each) => each.node));
      if (focused >= 0 && menus[focused]) menus[focused].select.focus();
    }

    async draw() {
      this.menus();
      const path = this.own.choices[this.chosen.join(",")];
      this.figure = await load(path);
      const lines = this.figure.title.map((line) => element("p", { className: "caption", textContent: line }));
      this.caption.replaceChildren(...lines);
      if (!this.figure.data) {
        this.chart.classList.remove("chart");
        if (this.figure.table) {
          orthobench.table(this.chart, this.figure.table, this.name);
          this.chart.querySelector(".caption").remove();
        } else {
          this.chart.replaceChildren(pictured(this.figure.pictures));
        }
        this.some.hidden = this.toggles.hidden = true;
        this.node.dataset.drawn = path;
        return;
      }
      this.groups = [...this.methods().keys()];
      if (!this.touched) this.hidden = this.others();
      else if (this.shown.length) this.hidden = new Set(this.groups.filter((each) => !this.shown.includes(each)));
      this.highlighted = null;
      await this.plot();
      this.boxes();
      this.counted();
      this.node.dataset.drawn = path;
    }

    /* The groups of the figure's traces, one a method, with their colours. */
    methods() {
      const groups = new Map();
      this.figure.data.forEach((trace) => {
        const colour = (trace.marker && trace.marker.color) || (trace.line && trace.line.color);
        if (colour) groups.set(trace.legendgroup, colour);
      });
      return groups;
    }

    /* The groups that are not shown at first. */
    others() {
      const { leading, aside } = this.figure;
      return new Set(leading ? [...this.methods().keys()].filter((group) => ![...leading, ...aside].includes(group)) : []);
    }

    /* Hide these groups, as the reader wants, and show all others. */
    hide(groups) {
      const usual = this.others();
      this.hidden = groups;
      this.touched = groups.size !== usual.size || [...groups].some((group) => !usual.has(group));
      this.highlighted = null;
      this.keep();
      this.plot();
      this.toggles.querySelectorAll("input").forEach((box) => { box.checked = !groups.has(box.value); });
      this.counted();
    }

    toggle(group) {
      const hidden = new Set(this.hidden);
      if (!hidden.delete(group)) hidden.add(group);
      this.hide(hidden);
    }

    /* Say how many methods are shown, and offer all, or those of the beginning. */
    counted() {
      const { leading, led, aside } = this.figure;
      this.some.hidden = !leading;
      if (!leading) return;
      const groups = [...this.methods().keys()].filter((group) => !aside.includes(group));
      const shown = groups.filter((group) => !this.hidden.has(group));
      const told = groups.every((group) => leading.includes(group) === shown.includes(group)) ? `: ${led}` : "";
      this.count.textContent = `${shown.length} of ${groups.length} are shown${told}`;
      this.all.textContent = this.hidden.size ? "Show all" : "Show the best";
    }

    /* Let a group stand out, the others faded; none if it is null, or hidden. */
    highlight(group) {
      const own = this.hidden.has(group) ? null : group;
      if (own === this.highlighted) return;
      this.highlighted = own;
      Plotly.restyle(this.chart, { opacity: this.figure.data.map((trace) => this.opacity(trace)) });
    }

    opacity(trace) {
      return this.highlighted === null || trace.legendgroup === this.highlighted ? 1 : FADED;
    }

    /* What the chart tells of the pointer; a click on the legend is one on a box. */
    listen() {
      const focused = () => this.toggles.querySelector("input:focus");
      this.chart.on("plotly_hover", ({ points }) => this.highlight(points[0].data.legendgroup));
      this.chart.on("plotly_unhover", () => this.highlight(focused() ? focused().value : null));
      this.chart.on("plotly_legendclick", ({ curveNumber }) => {
        this.toggle(this.figure.data[curveNumber].legendgroup);
        return false;
      });
      this.chart.on("plotly_legenddoubleclick", () => false);
    }

    async plot() {
      const data = this.figure.data.map((trace) => ({
        ...trace, visible: this.hidden.has(trace.legendgroup) ? "legendonly" : true, opacity: this.opacity(trace),
      }));
      const count = data.filter((trace) => trace.showlegend !== false).length;
      const names = [...new Set(this.figure.data.flatMap((trace) => trace.y))];
      const layout = dressed({ ...this.spanned(), names }, this.chart.clientWidth, count);
      const draw = (traces) => Plotly.react(
        this.chart, traces, layout, { displaylogo: false, displayModeBar: false, responsive: false },
      );
      // Axes take their first range from what is shown; without any it would be no number.
      if (!this.listens && data.every((trace) => trace.visible !== true)) await draw(this.figure.data);
      await draw(data);
      if (!this.listens) this.listen();
      this.listens = true;
      this.chart.style.minHeight = "0"; // the room for it before it was drawn
      this.chart.setAttribute("role", "img");
      this.chart.setAttribute("aria-label", `${this.node.querySelector("h3").textContent}. ${this.figure.title.join(". ")}`);
    }

    /* The figure's layout with what its axes span. */
    spanned() {
      const { layout } = this.figure, data = this.figure.data.filter((trace) => !this.hidden.has(trace.legendgroup));
      const axis = (name) => ({ ...layout[`${name}axis`], decades: decades(data, name) });
      return { ...layout, xaxis: axis("x"), yaxis: axis("y") };
    }

    /* One box a method, for those who have no mouse; and the downloads. */
    boxes() {
      const groups = this.methods(), list = element("ul");
      groups.forEach((colour, group) => {
        const box = element("input", { type: "checkbox", value: group, checked: !this.hidden.has(group) });
        box.addEventListener("change", () => {
          this.toggle(group);
          this.highlight(group);
        });
        const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        swatch.setAttribute("viewBox", "0 0 16 8");
        swatch.setAttribute("aria-hidden", "true");
        const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        Object.entries({ width: 16, height: 8, fill: colour }).forEach(([key, value]) => bar.setAttribute(key, value));
        swatch.append(bar);
        const entry = element("li", {}, element("label", {}, box, " ", swatch, ` ${group}`));
        ["mouseenter", "focusin"].forEach((event) => entry.addEventListener(event, () => this.highlight(group)));
        ["mouseleave", "focusout"].forEach((event) => entry.addEventListener(event, () => this.highlight(null)));
        list.append(entry);
      });
      const every = (checked) => () => this.hide(new Set(checked ? [] : groups.keys()));
      const button = (text, act) => {
        const made = element("button", { type: "button", className: "action", textContent: text });
        made.addEventListener("click", act);
        return made;
      };
      const save = (format) => button(format.toUpperCase(), () => Plotly.downloadImage(this.printed(), {
        format, filename: `orthobench-${this.name}`, width: 1000, height: this.figure.layout.height || 600,
        scale: format === "png" ? 2 : 1,
      }));
      const buttons = element("div", { className: "controls" }, button("All", every(true)), button("None", every(false)));
      const open = this.toggles.open;
      this.toggles.replaceChildren(element("summary", { textContent: "Show or hide methods" }), buttons, list);
      this.toggles.open = open;
      this.node.querySelectorAll(".save").forEach((each) => each.remove());
      const saves = element("div", { className: "controls save" }, "Download the figure:", save("svg"), save("png"));
      this.node.append(saves);
    }

    /* The figure as it is saved: black on white, with its title. */
    printed() {
      const layout = dressed(this.spanned(), 1000, 0);
      const text = this.figure.title.slice(0, 2).join("<br>");
      Object.assign(layout, { paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff", margin: { l: 60, r: 15, t: 60, b: 50 } });
      Object.assign(layout, { font: { ...layout.font, color: "#1b1f24" }, title: { text, font: { size: 12 } } });
      ["xaxis", "yaxis"].forEach((name) => Object.assign(layout[name], { gridcolor: "#d0d7de", linecolor: "#d0d7de" }));
      const data = this.figure.data.filter((trace) => !this.hidden.has(trace.legendgroup));
      return { data, layout, config: {} };
    }
  }

  document.addEventListener("DOMContentLoaded", async () => {
    const nodes = [...document.querySelectorAll("figure.plot")];
    if (!nodes.length) return;
    const name = decodeURIComponent(location.pathname.split("/").slice(-2)[0]);
    const index = await load(`${name}/index`);
    const drawn = [];
    const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
      if (!entry.isIntersecting) return;
      watch.unobserve(entry.target);
      const plot = new Plot(entry.target, entry.target.dataset.plot, index.machines, index.plots[entry.target.dataset.plot]);
      drawn.push(plot);
      plot.draw();
    }), { rootMargin: "600px" });
    nodes.forEach((node) => watch.observe(node));
    address.watch(() => drawn.forEach((plot) => {
      plot.restore();
      plot.draw();
    }));
    const again = () => drawn.forEach((plot) => { if (plot.figure?.data) plot.plot(); });
    dark.addEventListener("change", again);
    let width = innerWidth;
    addEventListener("resize", () => {
      if (innerWidth === width) return;
      width = innerWidth;
      clearTimeout(again.timer);
      again.timer = setTimeout(again, 200);
    });
  });
})();
