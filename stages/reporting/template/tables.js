"use strict";

// Tables sort by a click on a heading, or Enter and Space on it. A figure sorts by its number, which
// stands in data-number, an undefined one last; anything else as text.

function numberIn(cell) {
  return cell.dataset.number === "" ? NaN : Number(cell.dataset.number);
}

function compare(a, b, direction) {
  if ("number" in a.dataset && "number" in b.dataset) {
    const [x, y] = [numberIn(a), numberIn(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return direction * (x - y);
  }
  return direction * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
}

function sortBy(table, header) {
  const column = header.cellIndex;
  const body = table.tBodies[0];
  // The best of a figure is what is looked for first; names begin with A.
  const isFigure = "number" in body.rows[0].cells[column].dataset;
  const first = isFigure ? "descending" : "ascending";
  const second = isFigure ? "ascending" : "descending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  const direction = order === "ascending" ? 1 : -1;
  const rows = [...body.rows];
  rows.sort((a, b) => compare(a.cells[column], b.cells[column], direction));
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sortBy(table, header));
    header.append(button);
  }
}
