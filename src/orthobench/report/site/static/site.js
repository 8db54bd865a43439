/* What all pages share: data that comes as scripts, so that pages work from a disk, what a reader chose, in the address,
   and commands that can be copied. */
"use strict";

const orthobench = (() => {
  const received = new Map();
  const waiting = new Map();

  /* Called by each file of data. */
  function receive(key, value) {
    received.set(key, value);
    (waiting.get(key) || []).forEach((resolve) => resolve(value));
    waiting.delete(key);
  }

  /* Promise the value of a file of data, whose key is its path. */
  function load(path) {
    if (received.has(path)) return Promise.resolve(received.get(path));
    return new Promise((resolve, reject) => {
      if (waiting.has(path)) {
        waiting.get(path).push(resolve);
        return;
      }
      waiting.set(path, [resolve]);
      const script = document.createElement("script");
      script.src = document.body.dataset.root + path;
      script.onerror = () => reject(new Error(`${path} can't be loaded`));
      document.head.append(script);
    });
  }

  /* What a reader chose, in the address: `#key=value&...`, or `#claim-id&key=value&...`, so that it outlives a reload and
     can be sent. Only what is not the page's own choice is there, by names: more rows change places. */
  const address = (() => {
    const PAUSE = 100; // milliseconds: browsers limit how often an address may change
    const watching = [];
    let anchor = "", chosen = new URLSearchParams(), timer = null;

    /* Divide an address into its anchor and what is chosen; what is neither is left alone. */
    function read() {
      const text = location.hash.slice(1);
      const [first] = text.split("&", 1);
      const named = !first.includes("=");
      return [named ? first : "", new URLSearchParams(named ? text.slice(first.length + 1) : text)];
    }

    function write() {
      timer = null;
      const text = [anchor, String(chosen)].filter(Boolean).join("&");
      // The entry of the history is replaced: its button leads to the page before, not through every choice.
      history.replaceState(history.state, "", text ? `#${text}` : location.pathname + location.search);
    }

    function later() {
      clearTimeout(timer);
      timer = setTimeout(write, PAUSE);
    }

    /* Another address on the same page: a link to a place on it leaves what is chosen, all else replaces it. */
    function changed() {
      const [place, wanted] = read();
      const same = String(wanted) === String(chosen);
      anchor = place;
      if (place && !String(wanted)) {
        if (!same) later();
        return;
      }
      clearTimeout(timer);
      chosen = wanted;
      if (!same) watching.forEach((tell) => tell());
    }

    [anchor, chosen] = read();
    addEventListener("hashchange", changed);
    return {
      get: (key) => chosen.get(key),
      all: (key) => chosen.getAll(key),
      /* Keep the value of a key, or a list of them; without one the key goes. */
      set(key, value) {
        const values = [value ?? []].flat().map(String), before = chosen.getAll(key);
        if (values.length === before.length && values.every((each, place) => each === before[place])) return;
        chosen.delete(key);
        values.forEach((each) => chosen.append(key, each));
        later();
      },
      /* Forget all keys that begin so. */
      clear(start) {
        [...chosen.keys()].filter((key) => key.startsWith(start)).forEach((key) => chosen.delete(key));
        later();
      },
      anchor: () => anchor,
      /* Forget a place of the page that the address names. */
      leave(place) {
        if (anchor !== place) return;
        anchor = "";
        later();
      },
      /* Have a function called when another address comes. */
      watch: (tell) => { watching.push(tell); },
    };
  })();

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  /* A menu with its label; `labels` are what it shows, and the values are their places. */
  function menu(label, labels, chosen, changed) {
    const select = element("select");
    labels.forEach((text, place) => select.append(element("option", { value: String(place), textContent: text })));
    select.value = String(chosen);
    select.addEventListener("change", () => changed(Number(select.value)));
    return { select, node: element("label", {}, label, select) };
  }

  /* Say of a box that scrolls at which of its sides it has more: the style sheet draws a shadow there. */
  function edges(box) {
    if (box.dataset.more !== undefined) return;
    const look = () => {
      const sides = { left: box.scrollLeft > 1, right: box.scrollLeft + box.clientWidth < box.scrollWidth - 1 };
      const more = Object.keys(sides).filter((side) => sides[side]).join(" ");
      if (box.dataset.more !== more) box.dataset.more = more;
    };
    look();
    box.addEventListener("scroll", look, { passive: true });
    const watch = new ResizeObserver(look);
    [box, ...box.children].forEach((each) => watch.observe(each));
  }

  function copyable() {
    if (!navigator.clipboard) return;
    document.querySelectorAll(".command").forEach((box) => {
      const button = element("button", { type: "button", className: "action", textContent: "Copy" });
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(box.querySelector("code").textContent);
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      box.append(button);
    });
  }

  /* A link to a claim opens it; claims that are open stay so. */
  const claims = () => [...document.querySelectorAll('details[id$="-details"]')];
  const nameOf = (details) => details.id.replace(/-details$/, "");

  function open() {
    const target = document.getElementById(`${address.anchor()}-details`);
    if (target) target.open = true;
    (target || document.getElementById(address.anchor()))?.scrollIntoView();
  }

  function restore() {
    const opened = address.all("open");
    claims().forEach((each) => { each.open = opened.includes(nameOf(each)) || nameOf(each) === address.anchor(); });
  }

  function keep(event) {
    const name = nameOf(event.target);
    if (!event.target.open) address.leave(name);
    address.set("open", claims().filter((each) => each.open).map(nameOf).filter((each) => each !== address.anchor()));
  }

  document.addEventListener("DOMContentLoaded", () => {
    copyable();
    restore();
    open();
    claims().forEach((each) => each.addEventListener("toggle", keep));
    address.watch(restore);
    document.querySelectorAll(".scroll, .formulas dd").forEach(edges);
  });
  window.addEventListener("hashchange", open);
  return { receive, load, address, element, menu, edges };
})();
