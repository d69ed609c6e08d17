"use strict";
const form = document.querySelector(".filters");
const cards = Array.from(document.querySelectorAll(".card"));
const none = document.querySelector(".none");
const more = document.querySelector(".more");
const names = ["split", "task", "type", "right"];
const AT_FIRST = 12;
let limit = AT_FIRST;

function show() {
  const task = form.elements.task.value;
  for (const option of form.elements.type.options) {
    option.hidden = option.disabled = Boolean(task && option.value && option.dataset.task !== task);
    if (option.hidden && option.selected) form.elements.type.value = "";
  }
  let count = 0;
  for (const card of cards) {
    const fits = names.every((name) => !form.elements[name].value || form.elements[name].value === card.dataset[name]);
    if (fits) count += 1;
    card.hidden = !fits || count > limit;
  }
  more.hidden = count <= limit;
  more.textContent = "Show the other " + (count - limit);
  form.querySelector("output").textContent = count + " of " + cards.length + " answers";
  none.hidden = count > 0;
}

form.addEventListener("change", () => {
  limit = AT_FIRST;
  show();
});
more.addEventListener("click", () => {
  limit = Infinity;
  show();
});
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
show();
