/* Two solvers side by side on all data sets and metrics, from the values of each seed. */
"use strict";

(() => {
  const { address, element, load, menu, statistics } = orthobench;
  const { format } = statistics;
  const NONE = "–";
  const COLUMNS = ["data set", "metric", "A", "B", "difference A - B, interval", "p", "better", "n", "failures of A",
    "failures of B", "machine"];
  const FILTERS = ["data set", "metric", "better", "machine"];
  const APART = "not told apart";
  const LONGEST = 80; // characters of a name that is not known

  /* ----- which solvers ----- */

  const family = (name) => name.split("[")[0];

  /* The parameters in a name's brackets. */
  function parameters(name) {
    const inside = name.replace(/\]$/, "").slice(family(name).length + 1);
    return new Map(inside.split(",").filter((each) => each.includes("=")).map((each) => {
      const at = each.indexOf("=");
      return [each.slice(0, at).trim(), each.slice(at + 1).trim()];
    }));
  }

  /* The names that a selector means, as Benchopt's -s reads one. */
  function selected(names, selector) {
    if (names.includes(selector)) return [selector];
    const wanted = [...parameters(selector)];
    return names.filter((name) => {
      const own = parameters(name);
      return family(name) === family(selector) && wanted.every(([key, value]) => own.get(key) === value);
    });
  }

  /* The solver that a selector means on a data set, or why there is none. */
  function solverOf(selector, setting, data) {
    const current = new Set(), all = new Set();
    Object.values(setting.metrics).flat().forEach((entry) => {
      all.add(data.solvers[entry.solver][0]);
      if (!entry.superseded) current.add(data.solvers[entry.solver][0]);
    });
    const [found, old] = [current, all].map((names) => selected([...names], selector));
    const own = found.length ? found : old;
    if (own.length === 1) return { solver: data.solvers.findIndex(([name]) => name === own[0]) };
    return { why: own.length ? `${own.length} variants were run: choose one` : "not run, or skipped" };
  }

  /* What the menus offer: solvers, and families (and the baseline) of which different ones were run on different data
     sets, each for the one of a data set. */
  function offers(data) {
    const names = data.solvers.map(([name]) => name);
    const short = new Map(data.solvers);
    return [...new Set(names.map(family))].flatMap((each) => {
      const own = names.filter((name) => family(name) === each);
      const groups = [...new Set([each, data.baseline])].filter((group) => {
        const found = data.settings.map((setting) => solverOf(group, setting, data).solver);
        return family(group) === each && new Set(found.filter((solver) => solver !== undefined)).size > 1;
      });
      return [
        ...groups.map((group) => ({ selector: group, name: group, label: `${group} (the variant of each data set)` })),
        ...own.map((name) => ({ selector: name, name: short.get(name), label: short.get(name) })),
      ];
    });
  }

  /* ----- what they reached ----- */

  /* Pairs of figures by a metric that can be compared, one a kind of process; else one that can't. */
  function pairs(entries, sides) {
    const [a, b] = sides.map(({ solver }) => {
      const own = entries.filter((entry) => entry.solver === solver);
      const current = own.filter((entry) => !entry.superseded);
      return current.length ? current : own;
    });
    const found = a.flatMap((one) => b.filter((other) => one.kind === other.kind).map((other) => [one, other]));
    return found.length ? found : [[a[0], b[0]]];
  }

  /* Why two figures are not compared; nothing if they are. */
  function obstacle(pair, sides, common) {
    const letters = pair.map((entry, place) => [entry, sides[place], "AB"[place]]);
    const told = letters.map(([entry, { why }, letter]) => {
      if (!entry) return `${letter}: ${why || "no figure"}`;
      if (entry.superseded) return `${letter} is superseded: ${entry.superseded}`;
      return entry.values.length ? "" : `${letter}: ${entry.failures ? "all cells failed" : "does not apply"}`;
    }).filter(Boolean);
    if (told.length) return told.join("; ");
    if (pair[0].kind !== pair[1].kind) return `they ran in processes of several kinds (A: ${pair[0].kind}; B: ${pair[1].kind})`;
    return common ? "" : "no common seed";
  }

  /* The values of the seeds that both have. */
  function shared([a, b]) {
    if (!a || !b || !a.values.length || !b.values.length) return [[], []];
    const both = a.values.map((_, place) => place).filter((place) => a.values[place] !== null && b.values[place] !== null);
    return [a, b].map((each) => both.map((place) => each.values[place]));
  }

  /* Compare two solvers on each data set, by each metric that one of them has. */
  function comparisons(data, chosen) {
    const found = data.settings.flatMap((setting) => {
      const sides = chosen.map((selector) => solverOf(selector, setting, data));
      if (sides.every(({ solver }) => solver === undefined)) return [];
      return Object.entries(setting.metrics).flatMap(([metric, entries]) => pairs(entries, sides).map((pair) => {
        const [a, b] = shared(pair);
        const why = obstacle(pair, sides, a.length);
        const test = why ? null : statistics.paired(a, b, data.metrics[metric].counted, data.quantiles);
        const unsure = pair.map((entry, place) => (entry && entry.unguaranteed ? "AB"[place] : "")).filter(Boolean);
        return { setting, metric, pair, sides, why, test, unsure };
      }));
    });
    const judged = found.filter(({ test, unsure }) => test && !unsure.length);
    const adjusted = statistics.holm(judged.map(({ test }) => (test.n >= data.fewest ? test.p : 1)));
    judged.forEach((each, place) => {
      each.p = each.test.n >= data.fewest ? adjusted[place] : NaN;
      const lower = data.metrics[each.metric].better === "lower";
      const separated = each.p <= data.alpha && each.test.mean !== 0; // not where p is NaN
      each.better = !separated ? APART : (each.test.mean < 0) === lower ? "A" : "B";
    });
    return [found, judged];
  }

  /* ----- text ----- */

  const numbered = (text, value) => (Number.isFinite(value) ? { t: text, s: value } : { t: text });

  function figure(entry, side, setting, data) {
    if (!entry) return { t: `${NONE} ${side.why || "no figure"}` };
    const mark = entry.superseded ? "superseded" : entry.unguaranteed ? "no guarantee" : "";
    const link = setting.rows[entry.solver];
    const values = entry.values.filter((each) => each !== null);
    if (!values.length) {
      return { t: `${NONE} ${entry.failures ? "failed" : "does not apply"}`, h: link, ...(entry.failures ? { m: "failed" } : {}) };
    }
    const { mean, half } = statistics.interval(values, data.quantiles);
    const spread = Number.isFinite(half) ? ` ± ${format(half)}` : "";
    const told = [format(mean) + spread, mark].filter(Boolean).join(", ");
    return { ...numbered(told, mean), h: link, ...(mark === "superseded" ? { m: mark } : {}) };
  }

  function difference({ test, why }) {
    if (why) return { t: `${NONE} ${why}` };
    const { mean, half, n } = test;
    const told = n > 1 ? `[${format(mean - half)}, ${format(mean + half)}]` : "on one seed";
    return numbered(`${format(mean)} ${told}`, mean);
  }

  function verdict({ test, unsure, better }) {
    if (better) return better;
    return test ? `${NONE} no guarantee of ${unsure.join(" and ")}` : NONE;
  }

  function count({ pair, test }) {
    const own = pair.map((entry) => (entry ? entry.values.filter((each) => each !== null).length : 0));
    const common = test ? test.n : 0;
    const alike = own.every((each) => each === common);
    return { t: alike ? String(common) : `${common} (A: ${own[0]}, B: ${own[1]})`, s: common };
  }

  function failures(entry) {
    return entry && entry.failures ? { t: entry.failures, m: "failed" } : { t: entry ? "none" : NONE };
  }

  function tableOf(data, found, judged, names) {
    const rows = found.map((each) => {
      const { setting, metric, pair, sides } = each;
      const { label, better } = data.metrics[metric];
      const kind = pair[0] && pair[1] && pair[0].kind === pair[1].kind ? pair[0].kind : "";
      return [
        { t: setting.label },
        { t: `${label}, ${better} is better` },
        ...pair.map((entry, place) => figure(entry, sides[place], setting, data)),
        difference(each),
        each.p === undefined ? { t: NONE } : numbered(format(each.p), each.p),
        { t: verdict(each) },
        count(each),
        ...pair.map(failures),
        { t: kind ? `${setting.machine} (${kind})` : setting.machine },
      ];
    });
    const percent = `${100 * data.level} % Student t interval`;
    const caption = `A: ${names[0]}. B: ${names[1]}. Each figure: mean over seeds ± half the width of its ${percent}. `
      + `Difference: A - B on the same seeds, with its ${percent}. p: paired t test, Holm-adjusted over the `
      + `${judged.length} comparisons of this table, n/a below ${data.fewest} common seeds. Better: p ≤ ${data.alpha}. `
      + "n: the common seeds. Failed cells are left out of every mean. No guarantee: not compared by this metric.";
    return { key: "comparison", caption, columns: COLUMNS, rows, filters: FILTERS };
  }

  function sentence(found, judged, names) {
    const told = { A: 0, B: 0, [APART]: 0 };
    judged.forEach(({ better }) => { told[better] += 1; });
    const rest = found.length - judged.length;
    const left = rest ? ` ${rest} more can't be compared: their rows say why.` : "";
    if (!judged.length) return `${names[0]} and ${names[1]} can't be compared on any data set.${rest ? " Each row says why." : ""}`;
    return `${names[0]} is better than ${names[1]} on ${told.A}, worse on ${told.B}, not told apart on ${told[APART]} `
      + `of ${judged.length} comparisons (a data set and a metric each).${left}`;
  }

  /* ----- the page ----- */

  function start(data) {
    const offered = offers(data);
    /* The place of a solver by its name, its short one, or else of the first that it selects; -1 without one. */
    function place(text) {
      const exact = offered.findIndex(({ selector, name }) => selector === text || name === text);
      const [first] = text && exact < 0 ? selected(data.solvers.map(([name]) => name), text) : [];
      return first ? offered.findIndex(({ selector }) => selector === first) : exact;
    }

    const usual = [0, Math.max(0, place(data.baseline))];
    if (usual[1] === 0 && offered.length > 1) usual[0] = 1;
    const chosen = [...usual];
    let unknown = []; // names in the address
    const box = document.getElementById("compare");
    const status = element("p", { className: "lead" });
    status.setAttribute("role", "status");
    const table = element("div", { className: "table" });
    table.dataset.table = "comparison";

    function update() {
      const names = chosen.map((each) => offered[each].name);
      menus.forEach(({ select }, side) => { select.value = String(chosen[side]); });
      const [found, judged] = comparisons(data, chosen.map((each) => offered[each].selector));
      const missing = unknown.map((name) => `There is no solver ${name.slice(0, LONGEST)} here. `).join("");
      status.textContent = missing + sentence(found, judged, names);
      orthobench.table(table, tableOf(data, found, judged, names), "table");
      box.dataset.shown = chosen.map((each) => offered[each].selector).join(" | ");
    }

    function changed() {
      ["a", "b"].forEach((key, side) => address.set(key, offered[chosen[side]].selector));
      address.set("table.page", null);
      unknown = [];
      update();
    }

    function restore() {
      unknown = ["a", "b"].map((key) => address.get(key)).filter((name) => name && place(name) < 0);
      ["a", "b"].forEach((key, side) => {
        const wanted = place(address.get(key));
        chosen[side] = wanted < 0 ? usual[side] : wanted;
      });
      update();
    }

    const menus = ["solver A", "solver B"].map((label, side) => menu(label, offered.map((each) => each.label), 0, (number) => {
      chosen[side] = number;
      changed();
    }));
    const swap = element("button", { type: "button", className: "action", textContent: "Swap A and B" });
    swap.addEventListener("click", () => {
      chosen.reverse();
      changed();
    });
    box.append(element("div", { className: "controls" }, ...menus.map(({ node }) => node), swap), status, table);
    restore();
    address.watch(restore);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const { benchmark } = document.getElementById("compare").dataset;
    load(`${benchmark}/compare`).then(start);
  });
})();
