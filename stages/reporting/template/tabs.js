// Sections as tabs: a link of the contents chooses one, and so does whatever leads into it. Without
// this script, and in print, all of them are shown.

const tabList = document.querySelector(".tabs");
const tabs = [...tabList.querySelectorAll("a")];
const panels = [...document.querySelectorAll(".panel")];

function choose(panel) {
  panels.forEach((other, number) => {
    const isChosen = other === panel;
    // What is hidden is still found by the browser's search.
    other.hidden = isChosen ? false : "until-found";
    tabs[number].setAttribute("aria-selected", isChosen);
    tabs[number].tabIndex = isChosen ? 0 : -1;
  });
}

function go(number) {
  choose(panels[number]);
  tabs[number].focus();
  history.replaceState(null, "", tabs[number].hash);
}

function followAddress() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const panel = target?.closest(".panel");
  if (!panel) return;
  choose(panel);
  target.scrollIntoView();
}

const STEPS = {
  ArrowRight: number => (number + 1) % tabs.length,
  ArrowLeft: number => (number + tabs.length - 1) % tabs.length,
  Home: () => 0,
  End: () => tabs.length - 1,
};

document.documentElement.classList.add("js");
tabList.removeAttribute("aria-label");
tabList.setAttribute("role", "tablist");
tabList.setAttribute("aria-label", "Sections");
tabs.forEach((tab, number) => {
  tab.setAttribute("role", "tab");
  tab.id = `${panels[number].id}.tab`;
  tab.setAttribute("aria-controls", panels[number].id);
  panels[number].setAttribute("role", "tabpanel");
  panels[number].setAttribute("aria-labelledby", tab.id);
  panels[number].addEventListener("beforematch", () => choose(panels[number]));
  tab.addEventListener("click", event => {
    event.preventDefault();
    go(number);
  });
  tab.addEventListener("keydown", event => {
    const step = STEPS[event.key];
    if (event.key === " " || event.key === "Enter") tab.click();
    else if (step) go(step(number));
    else return;
    event.preventDefault();
  });
});
choose(panels[0]);
followAddress();
addEventListener("hashchange", followAddress);

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const part of opened) part.open = true;
});
addEventListener("afterprint", () => {
  for (const part of opened) part.open = false;
});
