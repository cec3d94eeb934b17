// The card of one image: what it is, what is predicted of it, which images lie nearest.

const card = document.getElementById("card");
const said = document.getElementById("said");
const shownCard = { owner: null, kept: false };

const source = (chapter, image) => {
  const place = chapter.thumbnails[image];
  return place < 0 ? null : `data:image/webp;base64,${data.pictures[place]}`;
};

function picture(chapter, image) {
  const from = source(chapter, image);
  if (from === null) return create("span", { class: "none" }, chapter.names[image]);
  return create("img", { src: from, alt: `${chapter.names[image]}, ${chapter.classes[chapter.labels[image]]}` });
}

function predictions(chapter, image) {
  const table = create("table");
  const head = create("tr");
  head.append(create("th", { scope: "col" }, "predicted by"), ...chapter.probes.map(({ label }) => create("th", { scope: "col" }, label)));
  table.append(create("thead"), create("tbody"));
  table.tHead.append(head);
  const names = new Map(chapter.probes.flatMap(({ methods }) => methods.map(({ entry, name }) => [entry, name])));
  for (const [entry, name] of names) {
    const row = create("tr");
    row.append(create("th", { scope: "row" }, name));
    for (const { methods } of chapter.probes) {
      const method = methods.find((each) => each.entry === entry);
      if (!method) {
        row.append(create("td", {}, "–"));
        continue;
      }
      const right = method.predicted[image] === chapter.labels[image];
      const seeds = method.agreeing[image] < method.seeds ? ` ${method.agreeing[image]}/${method.seeds}` : "";
      const text = `${right ? "✓" : "✗"}\u00a0${chapter.classes[method.predicted[image]]}${seeds}`;
      row.append(create("td", { class: right ? "" : "wrong" }, text));
    }
    table.tBodies[0].append(row);
  }
  return table;
}

// `neighbours`: images, nearest first; `chosen` is called with one that was pressed.
function fillCard(chapter, image, neighbours, chosen) {
  const close = create("button", { type: "button", class: "close", "aria-label": "Close" }, "×");
  close.addEventListener("click", hideCard);
  const top = create("div", { class: "top" });
  const words = create("div");
  const label = chapter.classes[chapter.labels[image]];
  words.append(create("strong", { class: "class" }, label), create("div", { class: "quiet name" }, chapter.names[image]));
  if (chapter.groups[image] >= 0) words.append(create("div", { class: "quiet" }, `group ${chapter.groups[image] + 1}`));
  if (source(chapter, image) !== null) top.append(picture(chapter, image));
  top.append(words);
  const votes = predictions(chapter, image);
  card.replaceChildren(close, top, votes);
  if (/ \d+\/\d+$/m.test([...votes.querySelectorAll("td")].map((cell) => cell.textContent).join("\n"))) {
    card.append(create("div", { class: "quiet" }, "1/2: predicted by one of two seeds"));
  }
  if (neighbours.length) {
    const row = create("div", { class: "neighbours" });
    for (const each of neighbours) {
      const same = chapter.labels[each] === chapter.labels[image];
      const button = create("button", { type: "button", class: same ? "" : "other", tabindex: shownCard.kept ? "0" : "-1" });
      if (source(chapter, each) !== null) button.append(picture(chapter, each));
      button.append(create("span", {}, chapter.classes[chapter.labels[each]]));
      button.addEventListener("click", () => chosen(each));
      row.append(button);
    }
    card.append(create("div", { class: "quiet" }, "nearest by the features"), row);
  }
  said.textContent = `${label}, ${chapter.names[image]}`;
}

// Beside a point of the window: outwards, so that the middle stays free, if there is room.
function placeCard(x, y) {
  card.hidden = false;
  card.classList.toggle("kept", shownCard.kept);
  const { width, height } = card.getBoundingClientRect();
  const [left, right] = [x - 20 - width, x + 20];
  const outwards = x < innerWidth / 2 ? left >= 8 : right + width > innerWidth;
  const beside = outwards ? Math.max(8, left) : Math.min(right, innerWidth - width - 8);
  card.style.left = `${beside}px`;
  card.style.top = `${Math.max(8, Math.min(y - height / 3, innerHeight - height - 8))}px`;
}

function hideCard() {
  const { owner } = shownCard;
  const had = card.contains(document.activeElement);
  card.hidden = true;
  shownCard.kept = false;
  shownCard.owner = null;
  if (owner) owner.closed(had);
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !card.hidden) hideCard();
});
document.addEventListener("pointerdown", (event) => {
  if (shownCard.kept && !card.contains(event.target) && !event.target.closest(".plane, .tile")) hideCard();
});
addEventListener("scroll", () => {
  if (!card.hidden && !matchMedia("(max-width: 40rem)").matches) hideCard();
}, { passive: true });
