// Draws the table in each <over-time> as a chart above it.
const colour = (name) => () => getComputedStyle(document.body).getPropertyValue(name);
const dark = matchMedia("(prefers-color-scheme: dark)");
const MOMENTS = [0.1, 1, 10, 60, 600, 3600, 36000, 86400, 864000];
const UNITS = {
  share: (value) => Math.round(value * 100) + " %",
  credits: (value) => value.toLocaleString("en"),
  seconds: (value) =>
    value < 60 ? value + " s" : value < 3600 ? value / 60 + " min" : value < 86400 ? value / 3600 + " h" : value / 86400 + " d",
};
const SCALES = {
  share: { range: [0, 1] },
  credits: { range: (_, __, most) => [0, most > 0 ? most * 1.1 : 1] },
  seconds: { distr: 3, range: (_, least, most) => [Math.min(least || 1, 1), Math.max(most || 10, 10) * 1.5] },
};

customElements.define("over-time", class extends HTMLElement {
  connectedCallback() {
    const { unit, drawing, drawn } = this.dataset;
    const stacked = drawing === "stack";
    const [head] = this.querySelectorAll("thead tr");
    const rows = [...this.querySelectorAll("tbody tr")].reverse();
    const columns = Array.from({ length: drawn }, (_, place) => place + 1);
    const values = columns.map((column) => rows.map((row) => (row.cells[column].dataset.value ?? "") === "" ? null : +row.cells[column].dataset.value));
    const heights = values.map((own, place) =>
      own.map((value, row) => !stacked || value === null ? value : values.slice(0, place + 1).reduce((sum, one) => sum + one[row], 0)));
    // Of a stack, the sum of all is drawn first.
    if (stacked) columns.reverse();
    const text = (column) => (_, __, ___, row) => rows[row ?? rows.length - 1].cells[column].textContent;
    const axis = { stroke: colour("--faint"), font: "12px system-ui", ticks: { show: false } };
    const grid = { stroke: colour("--line"), width: 1 };
    const wide = () => ({ width: this.clientWidth, height: 240 });
    const plot = document.createElement("div");
    plot.ariaHidden = "true";
    this.prepend(plot);
    this.chart = new uPlot({
      ...wide(),
      scales: { x: { time: false, range: [-0.5, rows.length - 0.5] }, y: SCALES[unit] },
      cursor: { y: false, drag: { x: false, y: false } },
      axes: [
        {
          ...axis,
          size: 30,
          grid: { show: false },
          splits: ({ width }) => {
            const step = Math.ceil(rows.length / (width / 75));
            return rows.map((_, row) => row).filter((row) => (rows.length - 1 - row) % step === 0);
          },
          values: (_, splits) => splits.map((row) => rows[row].cells[0].textContent),
        },
        {
          ...axis,
          grid,
          size: 64,
          ...(unit === "seconds" && { splits: ({ scales: { y } }) => MOMENTS.filter((one) => one >= y.min && one <= y.max), filter: (_, splits) => splits }),
          values: (_, splits) => splits.map((value) => value == null ? "" : UNITS[unit](value)),
        },
      ],
      series: [
        { label: head.cells[0].textContent, value: text(0) },
        ...columns.map((column) => ({
          label: head.cells[column].textContent,
          value: text(column),
          ...(stacked
            ? { paths: uPlot.paths.bars({ size: [0.75, 56] }), fill: colour("--series-" + column), stroke: colour("--card"), width: 1, points: { show: false } }
            : { stroke: colour("--series-" + column), width: 2, dash: column > 1 ? [6, 4] : [], points: { show: rows.length < 40, size: 6, fill: colour("--series-" + column) } }),
        })),
      ],
    }, [rows.map((_, row) => row), ...columns.map((column) => heights[column - 1])], plot);
    this.redraw = () => this.chart.redraw();
    dark.addEventListener("change", this.redraw);
    this.watch = new ResizeObserver(() => this.chart.setSize(wide()));
    this.watch.observe(this);
  }

  disconnectedCallback() {
    dark.removeEventListener("change", this.redraw);
    this.watch.disconnect();
    this.chart.destroy();
  }
});
