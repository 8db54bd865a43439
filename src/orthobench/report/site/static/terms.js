/* Explanations of words, from the page's glossary: shown while the pointer or the keyboard's focus is on a word, or the
   pointer on the explanation; Escape puts them away. Assistive technology reads them as descriptions. */
"use strict";

(() => {
  const { element } = orthobench;
  const MARGIN = 8; // pixels
  const PATIENCE = 200; // milliseconds, for the pointer's way to the explanation
  const made = new Map();
  let owner = null, leaving;

  /* The explanation with this content, a node; equal ones are one. */
  function tip(content) {
    const text = content.textContent;
    if (!made.has(text)) {
      const box = element("div", { className: "tip", id: `tip-${made.size + 1}`, hidden: true }, content.cloneNode(true));
      box.setAttribute("role", "tooltip");
      document.querySelector("main").append(box);
      made.set(text, box);
    }
    return made.get(text);
  }

  function describe(word, content) {
    word.dataset.tip = tip(content).id;
    word.setAttribute("aria-describedby", word.dataset.tip);
  }

  /* What a part of the glossary says of a word; nothing without an entry. */
  function meaning(part, word) {
    const entries = document.querySelectorAll(`dl[data-words="${part}"] dt`);
    const entry = [...entries].find((each) => each.textContent === word);
    if (!entry) return null;
    const content = document.createDocumentFragment();
    content.append(...[...entry.nextElementSibling.childNodes].map((each) => each.cloneNode(true)));
    return content;
  }

  /* Explain headings of columns and terms by a part of the glossary; those that are explained already stay so. */
  function explain(root, part) {
    if (!part) return;
    root.querySelectorAll("thead th:not([data-tip]), .term:not([data-tip])").forEach((word) => {
      const content = meaning(part, (word.querySelector(".gridjs-th-content") || word).textContent);
      if (content) describe(word, content);
    });
  }

  function place() {
    if (!owner) return;
    const box = document.getElementById(owner.dataset.tip), at = owner.getBoundingClientRect();
    Object.assign(box.style, { left: "0", top: "0" });
    const room = document.documentElement.clientWidth - box.offsetWidth - MARGIN;
    const top = at.top > box.offsetHeight ? at.top - box.offsetHeight : at.bottom;
    box.style.left = `${scrollX + Math.max(MARGIN, Math.min(at.left, room))}px`;
    box.style.top = `${scrollY + top}px`;
  }

  function hide() {
    clearTimeout(leaving);
    if (owner) document.getElementById(owner.dataset.tip).hidden = true;
    owner = null;
  }

  /* What is drawn anew takes its words along. */
  function follow() {
    if (owner && !owner.isConnected) hide();
    place();
  }

  function show(word) {
    if (word !== owner) hide();
    clearTimeout(leaving);
    owner = word;
    document.getElementById(word.dataset.tip).hidden = false;
    place();
  }

  const word = (event) => event.target.closest && event.target.closest("[data-tip]");
  document.addEventListener("pointerover", (event) => {
    if (word(event)) show(word(event));
    else if (event.target.closest(".tip")) clearTimeout(leaving);
  });
  document.addEventListener("pointerout", () => {
    clearTimeout(leaving);
    if (owner && !owner.matches(":focus-visible")) leaving = setTimeout(hide, PATIENCE);
  });
  document.addEventListener("focusin", (event) => {
    if (word(event) && event.target.matches(":focus-visible")) show(word(event));
  });
  document.addEventListener("focusout", (event) => { if (word(event) === owner) hide(); });
  document.addEventListener("click", (event) => { if (word(event) && event.target.matches(".term")) show(word(event)); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", follow, { capture: true, passive: true });

  /* What a browser shows of a claim to a mouse alone. */
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("#matrix [title]").forEach((each) => {
      describe(each, document.createTextNode(each.title));
      each.removeAttribute("title");
      if (!each.href) each.tabIndex = 0;
    });
  });
  orthobench.explain = explain;
})();
