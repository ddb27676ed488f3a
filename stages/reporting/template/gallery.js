// Galleries show the test images that were asked for, and enlarge one on a click or Enter.

function filterImages(filters) {
  const wanted = {};
  for (const select of filters.querySelectorAll("select")) wanted[select.name] = select.value;
  const { case: wantedCase, ...ofImages } = wanted;
  const isAsked = Object.values(wanted).some(Boolean);
  let count = 0;
  for (const gallery of filters.nextElementSibling.querySelectorAll("details")) {
    let shown = 0;
    for (const figure of gallery.querySelectorAll("figure")) {
      const isWanted = Object.entries(ofImages).every(
        ([name, value]) => !value || figure.dataset[name] === value || (value === "error" && figure.classList.contains(value))
      );
      figure.hidden = !isWanted;
      shown += isWanted;
    }
    gallery.hidden = Boolean(wantedCase) && gallery.dataset.case !== wantedCase || !shown;
    if (isAsked) gallery.open = !gallery.hidden;
    if (!gallery.hidden) count += shown;
  }
  filters.querySelector("[role=status]").textContent = `${count} images shown`;
}

for (const filters of document.querySelectorAll(".filters")) {
  filters.hidden = false;
  filters.addEventListener("change", () => filterImages(filters));
}

// One dialog for all, with the figure that was asked for and those shown beside it.
const dialog = document.createElement("dialog");
dialog.setAttribute("aria-label", "Test image, enlarged");
const place = document.createElement("div");
const commands = document.createElement("div");
commands.className = "commands";
let enlarged = null;

function enlarge(figure) {
  enlarged = figure;
  const copy = figure.cloneNode(true);
  const pictures = copy.querySelector("button.pictures");
  const plain = document.createElement("div");
  plain.className = "pictures";
  plain.append(...pictures.childNodes);
  pictures.replaceWith(plain);
  place.replaceChildren(copy);
  if (!dialog.open) dialog.showModal();
}

function move(step) {
  const figures = [...enlarged.parentElement.querySelectorAll("figure:not([hidden])")];
  const next = figures[figures.indexOf(enlarged) + step];
  if (next) enlarge(next);
}

const COMMANDS = { Previous: () => move(-1), Next: () => move(1), Close: () => dialog.close() };
for (const [name, run] of Object.entries(COMMANDS)) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.autofocus = name === "Close";
  button.addEventListener("click", run);
  commands.append(button);
}
dialog.append(commands, place);
dialog.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") move(-1);
  if (event.key === "ArrowRight") move(1);
});
dialog.addEventListener("close", () => enlarged.querySelector("button").focus());
document.body.append(dialog);

for (const figure of document.querySelectorAll(".galleries figure")) {
  const pictures = figure.querySelector(".pictures");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "pictures";
  const titles = [...pictures.querySelectorAll("small")].map(title => title.textContent);
  const said = figure.querySelector("strong").textContent;
  button.setAttribute("aria-label", `${titles.join(" ")}: enlarge ${said}`);
  button.append(...pictures.childNodes);
  button.addEventListener("click", () => enlarge(figure));
  pictures.replaceWith(button);
}
