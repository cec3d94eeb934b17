// The map of the features: dots by class, the card of the one pointed at, rings around it and its neighbours.

function drawMap(place) {
  const chapter = data.chapters[place.dataset.chapter];
  const [features, judge] = [place.querySelector(".features"), place.querySelector(".judge")];
  const [plane, plot, rings] = [".plane", ".plot", ".rings"].map((name) => place.querySelector(name));
  const hidden = new Set();
  let current = null; // a place among the dots
  features.append(...chapter.maps.map(({ name }, number) => create("option", { value: number }, name)));
  judge.append(...chapter.probes.map(({ label }, number) => create("option", { value: number }, label)));
  const map = () => chapter.maps[features.value];
  const classOf = (dot) => chapter.labels[chapter.dots[dot]];
  const isWrong = () => {
    const method = chapter.probes[judge.value].methods.find(({ entry }) => entry === map().entry);
    return (dot) => Boolean(method) && method.predicted[chapter.dots[dot]] !== classOf(dot);
  };

  const draw = () => {
    const { x, y, seed, silhouette } = map();
    const wrong = isWrong();
    place.querySelector(".about").textContent = `Seed ${seed}. ${silhouette === null ? "No silhouette" : `Silhouette of the features by class ${silhouette.toFixed(2).replace("-", "−")}`} (from −1 to 1).`;
    plane.setAttribute("aria-label", `Map of ${map().name}'s features, ${x.length} images. Arrow keys move between dots, Enter keeps the card.`);
    const classes = chapter.classes.map((name, key) => ({ key, name, look: chapter.looks[key] }));
    legend(place.querySelector(".legend"), classes, hidden, draw);
    const traces = classes.map(({ key, look }) => {
      const mine = x.map((_, dot) => dot).filter((dot) => classOf(dot) === key);
      return {
        x: mine.map((dot) => x[dot]),
        y: mine.map((dot) => y[dot]),
        customdata: mine,
        mode: "markers",
        hoverinfo: "none",
        visible: !hidden.has(key),
        marker: {
          color: onPaper(look.colour),
          symbol: look.symbol,
          size: x.length > 500 ? 7 : 9,
          opacity: 0.85,
          line: { color: colour("--ink"), width: mine.map((dot) => (wrong(dot) ? 1.6 : 0)) },
        },
      };
    });
    const bare = { visible: false };
    const touched = matchMedia("(pointer: coarse)").matches; // there dragging scrolls the page
    Plotly.react(plot, traces, layout({ margin: { l: 12, r: 12, t: 12, b: 12 }, xaxis: bare, yaxis: { ...bare, scaleanchor: "x" }, hovermode: "closest", hoverdistance: 12, dragmode: touched ? false : "zoom" }), {
      responsive: true,
      displaylogo: false,
      modeBarButtons: [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    });
    if (shownCard.owner === self) hideCard();
  };

  const point = (dot) => {
    const { xaxis, yaxis } = plot._fullLayout;
    return [xaxis._offset + xaxis.l2p(map().x[dot]), yaxis._offset + yaxis.l2p(map().y[dot])];
  };
  const show = (dot) => {
    current = dot;
    const neighbours = map().neighbours[dot];
    shownCard.owner = self;
    fillCard(chapter, chapter.dots[dot], neighbours.map((each) => chapter.dots[each]), (image) => show(chapter.dots.indexOf(image)));
    rings.replaceChildren(
      ...[dot, ...neighbours].map((each) => {
        const [left, top] = point(each);
        return create("i", { style: `left:${left}px;top:${top}px` });
      })
    );
    const box = plane.getBoundingClientRect();
    const [x, y] = point(dot);
    placeCard(box.left + x, box.top + y);
  };
  const keep = () => {
    shownCard.kept = true;
    show(current);
  };
  // The nearest visible dot in a direction: what is aside counts double.
  const towards = (dx, dy) => {
    const [x, y] = point(current);
    let best = current;
    let least = Infinity;
    map().x.forEach((_, dot) => {
      if (dot === current || hidden.has(classOf(dot))) return;
      const [left, top] = point(dot);
      const along = (left - x) * dx + (top - y) * dy;
      const aside = Math.abs((left - x) * dy) + Math.abs((top - y) * dx);
      if (along > 0.5 && along + 2 * aside < least) [best, least] = [dot, along + 2 * aside];
    });
    return best;
  };
  const first = () => map().x.findIndex((_, dot) => !hidden.has(classOf(dot)));
  const self = {
    closed(hadFocus) {
      rings.replaceChildren();
      if (hadFocus) plane.focus({ preventScroll: true });
    },
  };
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  plane.addEventListener("keydown", (event) => {
    if (event.target !== plane || first() < 0) return;
    if (event.key in moves) {
      event.preventDefault();
      show(current === null || hidden.has(classOf(current)) ? first() : towards(...moves[event.key]));
    } else if (event.key === "Enter" && current !== null) {
      event.preventDefault();
      keep();
      card.querySelector(".close").focus();
    }
  });
  plane.addEventListener("focus", () => {
    if (plane.matches(":focus-visible") && first() >= 0) show(current !== null && !hidden.has(classOf(current)) ? current : first());
  });
  plane.addEventListener("blur", () => {
    if (!shownCard.kept && shownCard.owner === self) hideCard();
  });
  features.addEventListener("change", draw);
  judge.addEventListener("change", draw);
  redraws.push(draw);
  draw();
  plot.on("plotly_hover", ({ points }) => shownCard.kept || show(points[0].customdata));
  plot.on("plotly_unhover", () => shownCard.kept || hideCard());
  plot.on("plotly_click", ({ points }) => {
    show(points[0].customdata);
    keep();
  });
  plot.on("plotly_relayout", () => shownCard.owner === self && hideCard());
}
