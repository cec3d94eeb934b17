// The galleries, the buttons, light and dark, printing; and the beginning of it all.

function fillTile(tile) {
  const list = tile.closest(".gallery");
  const chapter = data.chapters[list.dataset.chapter];
  const image = Number(tile.dataset.image);
  const { methods } = chapter.probes[list.dataset.probe];
  const counts = new Map();
  for (const { predicted } of methods.filter(({ judged }) => judged)) counts.set(predicted[image], (counts.get(predicted[image]) || 0) + 1);
  const votes = [...counts].sort((a, b) => b[1] - a[1]).map(([label, count]) => `${count}\u00a0×\u00a0${chapter.classes[label]}`);
  tile.append(picture(chapter, image), create("span", {}, `is ${chapter.classes[chapter.labels[image]]}`), create("span", { class: "quiet" }, votes.join(", ")));
  tile.addEventListener("click", () => {
    shownCard.kept = true;
    shownCard.owner = { closed: (hadFocus) => hadFocus && tile.focus() };
    fillCard(chapter, image, [], () => {});
    const box = tile.getBoundingClientRect();
    placeCard(box.right, box.top + box.height / 2);
    card.querySelector(".close").focus({ preventScroll: true });
  });
}

async function copy(button) {
  const text = button.previousElementSibling.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection().selectAllChildren(button.previousElementSibling);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

const redraw = () => redraws.forEach((draw) => draw());
const themeButton = document.getElementById("theme");
const nameTheme = () => (themeButton.textContent = isDark() ? "Light" : "Dark");
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  nameTheme();
  redraw();
});

const beforePrint = { theme: undefined, closed: [] };
addEventListener("beforeprint", () => {
  beforePrint.theme = document.documentElement.dataset.theme;
  beforePrint.closed = [...document.querySelectorAll(".chapter details:not([open]), #runs details:not([open])")];
  beforePrint.closed.forEach((each) => (each.open = true));
  document.documentElement.dataset.theme = "light";
  hideCard();
  redraw();
});
addEventListener("afterprint", () => {
  beforePrint.closed.forEach((each) => (each.open = false));
  if (beforePrint.theme) document.documentElement.dataset.theme = beforePrint.theme;
  else delete document.documentElement.dataset.theme;
  redraw();
});

nameTheme();
document.querySelectorAll(".copy").forEach((button) => button.addEventListener("click", () => copy(button)));
document.querySelectorAll(".tile").forEach(fillTile);
document.querySelectorAll(".map").forEach(drawMap);
document.querySelectorAll(".curves").forEach(drawCurves);
redraw();
document.documentElement.dataset.ready = "true";
