// Draws the charts of a report. Runs in a browser, after uPlot; reads its data from the page and asks nobody else.

const LIGHT = ["#0969da", "#c4161c", "#1a7f37", "#8250df", "#b35c00", "#0e7c86", "#bf3989", "#57606a"];
const DARK = ["#58a6ff", "#ff7b72", "#4ac26b", "#bc8cff", "#f0a04b", "#39c5cf", "#ff7bc5", "#9aa4b0"];
const HEIGHT = 220;
const RANGES = [["5 min", 300], ["15 min", 900], ["1 h", 3600], ["all", Infinity]];
const UNITS = { percent: "%", celsius: "°C", watt: "W", milliseconds: "ms" };
/** Steps of an axis of bytes: 1, 2 and 5 would give ticks like 46.6 GiB. */
const BYTE_STEPS = Array.from({ length: 55 }, (_, power) => 2 ** power);
const dark = matchMedia("(prefers-color-scheme: dark)");

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** "1.5 GiB", "12.0 MiB/s", "40 %", "1.2M". */
function written(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit !== "bytes" && unit !== "bytes_per_s") {
    const notation = Math.abs(value) >= 1e5 ? "compact" : "standard";
    const number = value.toLocaleString("en", {
      notation,
      maximumFractionDigits: Math.abs(value) < 100 ? 1 : 0,
    });
    return UNITS[unit] ? `${number} ${UNITS[unit]}` : number;
  }
  const power = value <= 0 ? 0 : Math.min(5, Math.floor(Math.log2(value) / 10));
  const scaled = value / 2 ** (10 * power);
  const name = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"][power];
  return `${scaled.toFixed(scaled >= 100 || power === 0 ? 0 : 1)} ${name}${unit === "bytes" ? "" : "/s"}`;
}

/** Times of an axis: with seconds when they are close, with the day when they are far apart or it changes. */
function writtenTimes(ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60;
  return ticks.map((tick, index) => {
    const [day, time] = new Date(tick * 1000).toISOString().split("T");
    if (step >= 86_400) return day;
    const clock = time.slice(0, step < 60 ? 8 : 5);
    const isNewDay = index === 0 || new Date(ticks[index - 1] * 1000).toISOString().slice(0, 10) !== day;
    return isNewDay ? `${clock}\n${day}` : clock;
  });
}

/** Shades gaps and puts a line at each event, behind the data. */
function annotate(chart, { marks, gaps }) {
  const { ctx, bbox } = chart;
  const at = (time) => chart.valToPos(time, "x", true);
  const right = bbox.left + bbox.width;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = color("gap");
  for (const [from, to] of gaps) {
    ctx.fillRect(at(from), bbox.top, Math.max(1, at(to) - at(from)), bbox.height);
  }
  ctx.lineWidth = Math.max(1, globalThis.devicePixelRatio);
  ctx.setLineDash([4, 3]);
  for (const { time, kind } of marks) {
    const x = Math.round(at(time));
    if (x < bbox.left || x > right) continue;
    ctx.strokeStyle = color(kind);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

function draw(place, panel, drawing, group) {
  const palette = () => dark.matches ? DARK : LIGHT;
  const axis = {
    stroke: () => color("faint"),
    grid: { stroke: () => color("grid"), width: 1 },
    ticks: { stroke: () => color("grid"), width: 1 },
  };
  const chart = new uPlot(
    {
      title: panel.title,
      width: place.clientWidth,
      height: HEIGHT,
      tzDate: (time) => uPlot.tzDate(new Date(time * 1000), "Etc/UTC"),
      cursor: { sync: { key: group }, drag: { x: true, y: false } },
      scales: {
        y: {
          range: (
            _,
            low,
            high,
          ) => [Math.min(0, low ?? 0), panel.unit === "percent" && high <= 100 ? 100 : roomAbove(high)],
        },
      },
      axes: [{ ...axis, values: (_, ticks) => writtenTimes(ticks) }, {
        ...axis,
        size: 76,
        ...panel.unit.startsWith("bytes") && { incrs: BYTE_STEPS },
        values: (_, ticks) => ticks.map((tick) => written(tick, panel.unit)),
      }],
      series: [
        {
          label: "UTC",
          value: (_, time) =>
            time === null ? "–" : new Date(time * 1000).toISOString().replace("T", " ").slice(0, 23),
        },
        ...panel.series.map(({ label }, index) => ({
          label,
          stroke: () => palette()[index % LIGHT.length],
          width: 1.5,
          points: { show: panel.times.length < 30 },
          value: (_, value) => written(value, panel.unit),
        })),
      ],
      hooks: { drawAxes: [(self) => annotate(self, drawing)] },
    },
    [panel.times, ...panel.series.map(({ values }) => values)],
    place,
  );
  new ResizeObserver(() => {
    if (place.clientWidth !== chart.width) chart.setSize({ width: place.clientWidth, height: HEIGHT });
  }).observe(place);
  return chart;
}

function roomAbove(high) {
  return high === null || high === undefined || high <= 0 ? 1 : high * 1.05;
}

function show(section, drawing, group) {
  const charts = drawing.panels.map((panel) => {
    const place = document.createElement("div");
    place.className = "chart";
    section.querySelector(".charts").append(place);
    return draw(place, panel, drawing, group);
  });
  const times = drawing.panels.flatMap((panel) => [panel.times[0], panel.times.at(-1)]);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const bar = section.querySelector(".ranges");

  function zoom(span, button) {
    for (const other of bar.children) other.setAttribute("aria-pressed", String(other === button));
    const margin = Math.max(1, Math.min(span, last - first) * 0.02);
    for (const chart of charts) {
      chart.setScale("x", { min: Math.max(first, last - span) - margin, max: last + margin });
    }
  }
  for (const [name, span] of RANGES) {
    if (span !== Infinity && span >= last - first) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name === "all" ? name : `last ${name}`;
    button.addEventListener("click", () => zoom(span, button));
    bar.append(button);
  }
  const preferred = [...bar.children].find(({ textContent }) => textContent === "last 15 min") ??
    bar.lastElementChild;
  preferred.click();
  dark.addEventListener("change", () => charts.forEach((chart) => chart.redraw()));
}

const drawings = JSON.parse(document.getElementById("drawings").textContent);
drawings.forEach((drawing, index) => {
  if (drawing.panels.length > 0) show(document.getElementById(`log-${index}`), drawing, `sync-${index}`);
});
document.documentElement.dataset.drawn = "true";
