"use strict";
// What every plot shares, and the learning curves. Text is written with textContent, or escaped for Plotly.

const data = JSON.parse(document.getElementById("data").textContent);
const redraws = []; // one a plot: draws it again in the colours of now

const create = (name, attributes = {}, text = null) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  return element;
};
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
const onPaper = (own) => (own === "#000000" && isDark() ? "#ffffff" : own);
const plotlyText = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(more) {
  return {
    margin: { l: 48, r: 10, t: 8, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: "system-ui, sans-serif", size: 12 },
    showlegend: false,
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--accent") },
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    ...more,
  };
}

const axis = (more) => ({ gridcolor: colour("--line"), zeroline: false, linecolor: colour("--line"), ...more });

// A sample of how a dot or a line looks, as a small drawing.
const SHAPES = { circle: "M0 5a5 5 0 1 0 10 0a5 5 0 1 0-10 0", square: "M.5.5h9v9h-9z", "triangle-up": "M5 0L10 9.5H0z", diamond: "M5 -.5L10.5 5L5 10.5L-.5 5z" };
const DASHES = { solid: "", dash: "6 3", dashdot: "6 3 1.5 3", dot: "1.5 3" };

function sample(look) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("width", look.dash ? 24 : 10);
  svg.setAttribute("height", 10);
  path.setAttribute("d", look.dash ? "M0 5H24" : SHAPES[look.symbol]);
  path.setAttribute(look.dash ? "stroke" : "fill", onPaper(look.colour));
  if (look.dash) {
    path.setAttribute("stroke-width", 2.5);
    path.setAttribute("stroke-dasharray", DASHES[look.dash]);
  }
  svg.append(path);
  return svg;
}

// Buttons that hide and show what they name. `hidden`: a set of keys, changed in place.
function legend(place, entries, hidden, changed) {
  place.replaceChildren(
    ...entries.map(({ key, name, look }) => {
      const button = create("button", { type: "button", "aria-pressed": String(!hidden.has(key)) });
      button.append(sample(look), create("span", {}, name));
      button.addEventListener("click", () => {
        hidden.has(key) ? hidden.delete(key) : hidden.add(key);
        button.setAttribute("aria-pressed", String(!hidden.has(key)));
        changed();
      });
      return button;
    })
  );
}

// Whole epochs, at most about eight ticks.
function tickStep(curves) {
  const last = Math.max(...curves.flatMap((curve) => curve.epoch));
  return [1, 2, 5, 10, 20, 25, 50, 100, 200, 500].find((step) => last / step <= 8) || 1000;
}

function drawCurves(place) {
  const { curves, lines } = data.chapters[place.dataset.chapter];
  const names = new Map(curves.map((curve) => [curve.entry, curve.name]));
  const hidden = new Set();
  const panels = [
    { title: "Embedding spread", key: "embedding_std", own: curves },
    { title: "Effective rank", key: "effective_rank", own: curves },
    ...[...names].map(([entry, name]) => ({ title: `Loss, ${name}`, key: "loss", own: curves.filter((each) => each.entry === entry) })),
  ].filter(({ own, key }) => own.some((curve) => curve[key].some((value) => value !== null)));
  const plots = panels.map((panel) => {
    const box = create("div");
    const plot = create("div", { class: "plot", role: "img", "aria-label": `${panel.title} by epoch` });
    box.append(create("h4", {}, panel.title), plot);
    place.querySelector(".panels").append(box);
    return { ...panel, plot };
  });
  const draw = () => {
    legend(place.querySelector(".legend"), [...names].map(([key, name]) => ({ key, name, look: lines[key] })), hidden, draw);
    for (const { plot, own, key } of plots) {
      const traces = own.map((curve) => ({
        x: curve.epoch,
        y: curve[key],
        mode: curve.epoch.length > 40 ? "lines" : "lines+markers",
        marker: { size: 5 },
        line: { color: onPaper(lines[curve.entry].colour), dash: lines[curve.entry].dash, width: 2 },
        visible: !hidden.has(curve.entry),
        hovertemplate: `${plotlyText(curve.name)}, batch ${curve.batch_size}, seed ${curve.seed}<br>epoch %{x}: %{y:.4g}<extra></extra>`,
      }));
      const below = key === "loss" ? {} : { rangemode: "tozero" };
      Plotly.react(plot, traces, layout({ xaxis: axis({ title: { text: "epoch", standoff: 4 }, dtick: tickStep(curves) }), yaxis: axis(below) }), {
        responsive: true,
        displayModeBar: false,
      });
    }
  };
  redraws.push(draw);
}
