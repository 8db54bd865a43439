/* What all pages share: data that comes as scripts, so that pages work from a disk, and commands that can be copied. */
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

  /* A link to a claim opens it. */
  function open() {
    const target = location.hash && document.getElementById(location.hash.slice(1) + "-details");
    if (target) {
      target.open = true;
      target.scrollIntoView();
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    copyable();
    open();
    document.querySelectorAll(".scroll, .formulas dd").forEach(edges);
  });
  window.addEventListener("hashchange", open);
  return { receive, load, element, menu, edges };
})();
