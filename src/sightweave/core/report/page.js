"use strict";
const form = document.querySelector(".filters");
const cards = Array.from(document.querySelectorAll(".card"));
const none = document.querySelector(".none");
const names = ["split", "task", "type", "right"];

function show() {
  const task = form.elements.task.value;
  for (const option of form.elements.type.options) {
    option.hidden = option.disabled = Boolean(task && option.value && option.dataset.task !== task);
    if (option.hidden && option.selected) form.elements.type.value = "";
  }
  let count = 0;
  for (const card of cards) {
    card.hidden = names.some((name) => form.elements[name].value && form.elements[name].value !== card.dataset[name]);
    if (!card.hidden) count += 1;
  }
  form.querySelector("output").textContent = count + " of " + cards.length + " answers";
  none.hidden = count > 0;
}

form.addEventListener("change", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.hidden = false;
show();
