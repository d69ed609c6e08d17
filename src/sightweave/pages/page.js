"use strict";
const form = document.querySelector(".filters");
const grid = document.querySelector(".cards");
const cards = Array.from(document.querySelectorAll("#gallery .card"));
const others = document.querySelector(".others");
const none = document.querySelector(".none");
const more = document.querySelector(".more");
const choices = Array.from(form.querySelectorAll("select")).filter((select) => select.name !== "order");
const AT_FIRST = 12;
let limit = AT_FIRST;

const fold = (text) => text.normalize("NFKC").toLowerCase().replace(/\s+/g, " ").trim();
const texts = new Map(cards.map((card) => {
  const said = Array.from(card.querySelectorAll("[dir=auto]:not(.kind)"), (part) => fold(part.textContent));
  return [card, said.join("\n")];
}));

// Cards without the number come last in either direction.
function place(card, key, down) {
  const value = card.dataset[key];
  if (value === undefined || value === "") return Infinity;
  return down ? -Number(value) : Number(value);
}

function sort() {
  const chosen = form.elements.order.selectedOptions[0];
  const sorted = cards.map((card) => [place(card, chosen.value, chosen.dataset.down), Number(card.dataset.number), card]);
  sorted.sort((a, b) => (a[0] === b[0] ? a[1] - b[1] : a[0] < b[0] ? -1 : 1));
  cards.splice(0, cards.length, ...sorted.map((entry) => entry[2]));
  grid.append(...cards);
}

function show() {
  const task = form.elements.task.value;
  for (const option of form.elements.type.options) {
    option.hidden = option.disabled = Boolean(task && option.value && option.dataset.task !== task);
    if (option.hidden && option.selected) form.elements.type.value = "";
  }
  const words = fold(form.elements.words.value);
  let count = 0;
  for (const card of cards) {
    const fits = choices.every((select) => !select.value || select.value === card.dataset[select.name])
      && texts.get(card).includes(words);
    if (fits) count += 1;
    card.hidden = !fits || count > limit;
  }
  more.hidden = count <= limit;
  more.textContent = "Show the other " + (count - limit);
  form.querySelector("output").textContent = count + " of " + cards.length + " answers";
  none.hidden = count > 0;
}

function start() {
  limit = AT_FIRST;
  sort();
  show();
}

form.addEventListener("change", start);
form.addEventListener("input", start);
form.addEventListener("reset", () => setTimeout(start));
more.addEventListener("click", () => {
  const next = cards.filter((card) => !card.hidden).length;
  limit = Infinity;
  show();
  // The button is hidden now, so move the keyboard focus to the first card that it revealed.
  cards.filter((card) => !card.hidden)[next].focus();
});
form.addEventListener("submit", (event) => event.preventDefault());
// All cards go into one grid; without this script, all but the first few are folded away.
if (others) others.remove();
form.hidden = false;
start();
