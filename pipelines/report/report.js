"use strict";
// Sort a table by a column. Everything else on the page works without script.
function cellValue(row, column) {
  const cell = row.cells[column];
  const unit = document.getElementById("unit-tokens").checked ? "tok" : "doc";
  const raw = cell.dataset[unit] ?? cell.dataset.value ?? cell.textContent.trim();
  const value = Number(raw);
  return raw === "" || Number.isNaN(value) ? raw : value;
}
function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? 1 : -1;
  return a.localeCompare(b);
}
function sortBy(header) {
  const table = header.closest("table");
  const down = header.getAttribute("aria-sort") !== "descending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((x, y) => compare(cellValue(x, header.cellIndex), cellValue(y, header.cellIndex)) * (down ? -1 : 1));
  body.append(...rows);
}
for (const header of document.querySelectorAll("table.sortable thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.title = "Sort by this column";
  button.append(...header.childNodes);
  button.addEventListener("click", () => sortBy(header));
  header.append(button);
}
function markWide() {
  for (const part of document.querySelectorAll(".scroll")) part.toggleAttribute("data-wide", part.scrollWidth > part.clientWidth + 1);
}
markWide();
addEventListener("resize", markWide);
for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", markWide);
for (const unit of document.querySelectorAll("input[name=unit]")) unit.addEventListener("change", markWide);
const all = document.getElementById("open-all");
all.hidden = false;
all.addEventListener("click", () => {
  const open = all.getAttribute("aria-pressed") !== "true";
  all.setAttribute("aria-pressed", String(open));
  all.textContent = open ? "Close all" : "Open all";
  for (const part of document.querySelectorAll("details")) part.open = open;
});
