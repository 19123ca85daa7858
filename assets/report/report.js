// SPDX-License-Identifier: MIT
// The report's page: DATA (report/page.h) as charts. With LIVE it asks the server again every few seconds.
"use strict";
(() => {
  const COLOURS = {light: ["#2563c4", "#d1495b", "#2a8a52", "#8a5cc2", "#b3700e", "#0f8b9d"],
                   dark: ["#6ea8fe", "#ff8fa0", "#67c587", "#c3a6ff", "#f0b45a", "#5fd0e0"]};
  // What is drawn where: section, title, names (several curves of one run differ in dashes; the last one is on top).
  const CHARTS = [
    ["loss", "loss, training and validation (dashed)", ["loss", "validation_loss"]],
    ["loss", "bits per byte, validation", ["validation_bits_per_byte"]],
    ["loss", "learning rate", ["learning_rate"]],
    ["speed", "tokens per second", ["tokens_per_second"]],
    ["speed", "seconds of a step; waiting for data (dashed)", ["step_seconds", "data_wait_seconds"]],
    ["speed", "seconds by phase, between two rows", /^seconds\//],
    ["speed", "share of the GPU's peak (MFU)", ["mfu"]],
    ["gradients", "gradient norm, before clipping", ["gradient_norm"]],
    ["gradients", "gradient norm by group", /^gradient_norm\//],
    ["gradients", "update over weight, by group", /^update_ratio\//],
    ["gradients", "weight norm by group", /^weight_norm\//],
    ["experts", "entropy of the load (1 is even)", ["expert_load_entropy"]],
    ["experts", "coefficient of variation of the load", ["expert_load_cv"]],
    ["experts", "busiest expert over the mean", ["expert_load_max_over_mean"]],
    ["experts", "dropped share", ["dropped_share"]],
    ["experts", "experts without a token in the step", ["dead_experts"]],
    ["experts", "balance loss", ["balance_loss"]],
    ["experts", "z loss", ["z_loss"]],
    ["inside", "attention on the first token; uniform (dashed)", ["attention_sink", "attention_sink_uniform"]],
    ["inside", "mean gate", ["gate_mean"]],
    ["inside", "largest activation", ["max_activation"]],
    ["inside", "router's confidence", ["router_confidence"]],
  ];
  const HIDDEN = new Set(["tokens", "perplexity", "validation_perplexity"]);
  const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [1, 2], [8, 2]];
  const $ = (id) => document.getElementById(id);
  let data = DATA, charts = [];

  const dark = () => document.documentElement.classList.contains("dark");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (i) => COLOURS[dark() ? "dark" : "light"][i % 6];
  const short = (x) => x === null || x === undefined ? "-" : Math.abs(x) >= 1e5 || (x !== 0 && Math.abs(x) < 1e-3)
      ? x.toExponential(2) : String(+x.toPrecision(4));

  function names(wanted) {
    const all = new Set(data.runs.flatMap((run) => Object.keys(run.series)));
    return wanted instanceof RegExp ? [...all].filter((name) => wanted.test(name)).sort()
                                    : wanted.filter((name) => all.has(name));
  }

  // Exponential mean, unbiased from the first point on.
  function smoothed(values, keep) {
    if (keep === 0) return values;
    let sum = 0, weight = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = keep * sum + (1 - keep) * value;
      weight = keep * weight + (1 - keep);
      return sum / weight;
    });
  }

  function datasets(wanted) {
    const keep = Number($("smooth").value), list = [];
    const byColour = data.runs.length === 1 && wanted.length > 1;
    data.runs.forEach((run, r) => wanted.forEach((name, n) => {
      const series = run.series[name];
      if (!series) return;
      const paint = colour(byColour ? n : r), points = (values) => series.step.map((x, i) => ({x, y: values[i]}));
      const label = (data.runs.length > 1 ? run.name + " " : "") + (wanted.length > 2 ? name.split("/").pop() : name);
      if (series.low && keep === 0 && wanted.length === 1) {
        list.push({data: points(series.low), borderWidth: 0, pointRadius: 0, label: "", fill: "+1", backgroundColor: paint + "33"});
        list.push({data: points(series.high), borderWidth: 0, pointRadius: 0, label: ""});
      }
      list.push({label, data: points(smoothed(series.mean, keep)), borderColor: paint, backgroundColor: paint,
                 borderWidth: 1.6, order: -n, borderDash: wanted.length > 2 && byColour ? [] : DASHES[n % 6], spanGaps: true,
                 pointRadius: series.step.length < 40 ? 2 : 0, pointHoverRadius: 4, tension: 0});
    }));
    return list;
  }

  function options(many, zero, across = "step ") {
    const soft = css("--soft"), line = css("--line");
    const axis = {ticks: {color: soft, maxTicksLimit: 7}, grid: {color: line, borderColor: line}};
    return {animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
            interaction: {mode: "nearest", axis: "x", intersect: false},
            scales: {x: {...axis, type: "linear", ticks: {...axis.ticks, maxRotation: 0}},
                     y: {...axis, type: $("logarithmic").checked ? "logarithmic" : "linear",
                         ...(zero ? {min: 0, max: 1} : {}), ticks: {...axis.ticks, callback: (value) => short(value)}}},
            plugins: {legend: {display: many, labels: {color: soft, boxWidth: 14, boxHeight: 2, font: {size: 11},
                                                       filter: (item) => item.text !== ""}},
                      tooltip: {filter: (item) => item.dataset.label !== "",
                                callbacks: {title: (items) => items.length ? across + items[0].parsed.x : "",
                                            label: (item) => item.dataset.label + ": " + short(item.parsed.y)}}}};
  }

  function addCard(section, title, made, how) {
    const card = document.createElement("div");
    card.className = "card";
    card.innerHTML = "<h3></h3><div class=plot><canvas></canvas></div>";
    card.querySelector("h3").textContent = title;
    $(section).append(card);
    charts.push(new Chart(card.querySelector("canvas"), {type: "line", data: {datasets: made}, options: how}));
  }

  function addChart(section, title, wanted) {
    const made = datasets(wanted), zero = made.every((one) => one.data.every((point) => !point.y));
    addCard(section, title, made, options(wanted.length > 1, zero));
  }

  function drawCharts() {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    drawComparison();
    const used = new Set(HIDDEN);
    for (const id of ["loss", "speed", "gradients", "experts", "inside", "rest"]) $(id).textContent = "";
    for (const [section, title, wanted] of CHARTS) {
      const found = names(wanted);
      found.forEach((name) => used.add(name));
      if (found.length) addChart(section, title, found);
    }
    if ($("others").open)
      for (const name of names(/./)) if (!used.has(name) && !name.startsWith("memory/")) addChart("rest", name, [name]);
    for (const id of ["loss", "speed", "gradients", "experts", "inside"])
      $(id).closest("section").hidden = $(id).childElementCount === 0;
  }

  function element(parent, tag, text, kind) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (kind) made.className = kind;
    parent.append(made);
    return made;
  }

  function drawTiles() {
    $("tiles").textContent = "";
    $("legend").textContent = "";
    data.runs.forEach((run, i) => element($("legend"), "span", run.name).style.setProperty("--run", colour(i)));
    if (data.runs.length !== 1) return;
    const run = data.runs[0], last = (name) => run.series[name] ? run.series[name].last : null;
    const steps = run.config.training ? run.config.training.max_steps : null;
    for (const [label, text] of [["step" + (steps ? " of " + steps : ""), run.last_step], ["loss", short(last("loss"))],
                                 ["validation loss", short(last("validation_loss"))],
                                 ["tokens/s", short(last("tokens_per_second"))], ["MFU", last("mfu") === null ? null : (100 * last("mfu")).toFixed(1) + " %"],
                                 ["dead experts", last("dead_experts")], ["alerts", run.notes.length]]) {
      if (text === null || text === "-") continue;
      const tile = element($("tiles"), "div", "", "tile");
      element(tile, "b", text);
      element(tile, "small", label);
    }
  }

  function drawNotes() {
    $("notes").textContent = "";
    for (const run of data.runs)
      for (const note of run.notes.slice(-8))
        element($("notes"), "div", (data.runs.length > 1 ? run.name + ", " : "") + "step " + note.step + ": " + note.text, "note");
  }

  // The last text of each name, such as a sample of what the model writes.
  function drawTexts() {
    $("texts").textContent = "";
    for (const run of data.runs)
      for (const note of run.texts) {
        element($("texts"), "h2", (data.runs.length > 1 ? run.name + ": " : "") + note.kind + " at step " + note.step);
        element($("texts"), "pre", note.text);
      }
  }

  function addTable(section, title, head, rows) {
    element($(section), "h2", title);
    if (!rows.length) return void element($(section), "p", "none", "hint");
    const table = element(element($(section), "div", "", "scroll"), "table", "");
    for (const [i, row] of [head, ...rows].entries()) {
      const line = element(table, "tr", "");
      row.forEach((text) => element(line, i ? "td" : "th", text));
    }
  }

  function drawMemory() {
    $("memory").textContent = "";
    const keys = names(/^memory\//);
    if (!keys.length) return;
    const size = (bytes) => {
      if (bytes === undefined) return "-";
      const power = bytes >= 2 ** 30 ? 3 : bytes >= 2 ** 20 ? 2 : 1;
      return +(bytes / 1024 ** power).toPrecision(3) + [" KiB", " MiB", " GiB"][power - 1];
    };
    const of = (run, key) => run.series[key] ? run.series[key].last : undefined;
    addTable("memory", "Memory planned for the run", ["", ...data.runs.map((run) => run.name)],
             [...keys, "memory_bytes"].map((key) => [key === "memory_bytes" ? "all" : key.slice(7), ...data.runs.map((run) => size(of(run, key)))]));
  }

  function drawDifferences() {
    $("differences").textContent = "";
    if (data.runs.length < 2) return;
    const flat = data.runs.map((run) => Object.fromEntries(Object.entries(run.config).flatMap(([section, values]) =>
        Object.entries(values).map(([key, value]) => [section + "." + key, JSON.stringify(value)]))));
    const keys = [...new Set(flat.flatMap((one) => Object.keys(one)))].filter((key) => new Set(flat.map((one) => one[key])).size > 1);
    addTable("differences", "Settings that differ", ["setting", ...data.runs.map((run) => run.name)],
             keys.map((key) => [key, ...flat.map((one) => one[key] === undefined ? "-" : one[key])]));
  }

  const spread = (one, digits, scale = 1) => {
    if (!one || one.mean === null) return "-";
    const text = (scale * one.mean).toFixed(digits);
    return one.standard_error === null ? text : text + " ± " + (scale * one.standard_error).toFixed(digits);
  };

  // Of arms (report/comparison.h): a table, and their losses over what they spent; an arm has one colour.
  function drawComparison() {
    $("comparison").textContent = "";
    const all = data.comparison;
    if (!all) return;
    const seeds = all.arms[0].runs.length, first = all.arms[0].name;
    const interval = (one) => one.mean !== null && one.interval_95 ? " [" + one.interval_95.map((x) => x.toFixed(4)).join(", ") + "]" : "";
    const share = (one) => one ? spread(one, 1, 100) + " %" + (one.n < seeds ? " (" + one.n + " of " + seeds + ")" : "") : "not reached";
    addTable("comparison", "Arms",
             ["", "steps", "loss", "best", "difference [95 %]", "tokens to equal loss", "seconds to equal loss", "tokens/s", "seconds", "other settings"],
             all.arms.map((arm, i) => [arm.name, arm.steps, spread(arm.loss, 4), spread(arm.best_loss, 4),
                                       i ? spread(arm.difference, 4) + interval(arm.difference) : "-",
                                       share(arm.tokens_to_equal_loss_share), share(arm.seconds_to_equal_loss_share),
                                       short(arm.tokens_per_second.mean), short(arm.seconds.mean), arm.settings.join("; ")]));
    element($("comparison"), "p", all.length + ". Loss: validation, nats a token, ± its standard error. Difference: to " + first +
            " with the same seed. Equal loss: the final one of " + first + ", as a share of what " + first + " took." +
            (seeds === 1 ? " One seed tells no spread." : ""), "hint");
    const grid = element($("comparison"), "div", "", "grid");
    grid.id = "comparison-charts";
    for (const what of ["tokens", "seconds"])
      addCard("comparison-charts", "validation loss over " + what, all.arms.flatMap((arm, i) => arm.runs.map((run, k) => ({
        label: arm.name + (seeds > 1 ? ", seed " + run.seed : ""), borderColor: colour(i), backgroundColor: colour(i), borderWidth: 1.6,
        borderDash: DASHES[k % 6], pointRadius: 0, pointHoverRadius: 4, tension: 0,
        data: run.curve[what].map((x, j) => ({x, y: run.curve.validation_loss[j]}))}))), options(true, false, what + " "));
  }

  // Perceptually even, readable in light and dark: dark blue over teal to yellow (0 to 1).
  function heatColour(x) {
    const stops = [[48, 18, 110], [42, 85, 150], [33, 145, 140], [120, 200, 90], [253, 231, 37]];
    const at = Math.min(Math.max(x, 0), 1) * 4, i = Math.min(Math.floor(at), 3), f = at - i;
    return `rgb(${stops[i].map((v, c) => Math.round(v + f * (stops[i + 1][c] - v))).join(",")})`;
  }

  // value(row, column) in [0, top] as cells, with a scale at the right.
  function drawMap(canvas, rows, columns, value, top, marks) {
    const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    canvas.width = box.width * ratio;
    canvas.height = box.height * ratio;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const left = 40, bottom = 22, right = 56, width = box.width - left - right, height = box.height - bottom - 4;
    for (let r = 0; r < rows; ++r)
      for (let c = 0; c < columns; ++c) {
        paint.fillStyle = heatColour(value(r, c) / top);
        const x = Math.floor(c * width / columns), y = Math.floor(r * height / rows);
        paint.fillRect(left + x, 4 + y, Math.floor((c + 1) * width / columns) - x, Math.floor((r + 1) * height / rows) - y);
      }
    paint.fillStyle = css("--soft");
    paint.font = "11px system-ui, sans-serif";
    paint.textAlign = "right";
    const every = Math.ceil(rows / 10);
    for (let r = 0; r < rows; r += every) paint.fillText(r, left - 6, 4 + (r + 0.5) * height / rows + 4);
    paint.textAlign = "center";
    for (const [share, text] of marks) paint.fillText(text, left + share * width, box.height - 6);
    paint.textAlign = "left";
    for (let i = 0; i < 40; ++i) {
      paint.fillStyle = heatColour(1 - i / 39);
      paint.fillRect(box.width - right + 10, 4 + i * height / 40, 10, height / 40 + 1);
    }
    paint.fillStyle = css("--soft");
    paint.fillText(short(top), box.width - right + 24, 14);
    paint.fillText("0", box.width - right + 24, height + 2);
  }

  function fill(select, texts) {
    const before = select.value;
    select.textContent = "";
    texts.forEach((text, i) => { element(select, "option", text).value = i; });
    if (before !== "" && before < texts.length) select.value = before;
  }

  const timeMarks = (step) => step.length < 2 ? [] : [[0.02, step[0]], [0.5, step[Math.floor(step.length / 2)]], [0.96, step[step.length - 1]]];

  function drawHeat() {
    const runs = data.runs.filter((run) => run.load.step.length);
    $("heat").hidden = runs.length === 0;
    if (!runs.length) return;
    fill($("heat-run"), runs.map((run) => run.name));
    $("heat-run").hidden = runs.length < 2;
    const load = runs[$("heat-run").value || 0].load, time = $("heat-time"), atEnd = time.value === time.max;
    time.max = load.step.length - 1;
    if (atEnd) time.value = time.max;
    fill($("heat-layer"), [...Array(load.rows).keys()].map((layer) => "layer " + layer));
    $("heat-step").textContent = "step " + load.step[time.value];
    const top = Math.max(2, Math.min(load.columns, 4)), slice = load.values[time.value], layer = Number($("heat-layer").value || 0);
    const across = [...Array(load.columns).keys()].filter((e) => e % Math.ceil(load.columns / 16) === 0);
    drawMap($("heat-load"), load.rows, load.columns, (r, c) => slice[r * load.columns + c], top,
            across.map((e) => [(e + 0.5) / load.columns, e]));
    drawMap($("heat-history"), load.columns, load.step.length, (r, c) => load.values[c][layer * load.columns + r], top, timeMarks(load.step));
  }

  function drawLayers() {
    const all = [...new Set(data.runs.flatMap((run) => Object.keys(run.maps)))].sort();
    $("layers-section").hidden = all.length === 0;
    if (!all.length) return;
    fill($("layers-name"), all);
    const name = all[$("layers-name").value || 0];
    $("layers").textContent = "";
    for (const run of data.runs) {
      const map = run.maps[name];
      if (!map) continue;
      const figure = element($("layers"), "figure", ""), canvas = element(figure, "canvas", "");
      element(figure, "figcaption", (data.runs.length > 1 ? run.name + ": " : "") + "step (across), layer (down)");
      const top = Math.max(1e-9, ...map.values.flat());
      drawMap(canvas, map.rows, map.step.length, (r, c) => map.values[c][r], top, timeMarks(map.step));
    }
  }

  function draw() {
    $("title").textContent = (LIVE ? "watch " : "report ") + data.runs.map((run) => run.name).join(", ");
    document.title = "moe " + $("title").textContent;
    $("empty").hidden = data.runs.some((run) => Object.keys(run.series).length > 0);
    drawTiles();
    drawNotes();
    drawCharts();
    drawHeat();
    drawLayers();
    drawDifferences();
    drawMemory();
    drawTexts();
    document.body.dataset.ready = String(Number(document.body.dataset.ready || 0) + 1);
  }

  // The page as it was when the data comes anew, without a jump: heights are kept while charts are made again.
  async function poll() {
    let tag = "";
    for (;;) {
      try {
        const answer = await fetch("data.json", tag ? {headers: {"If-None-Match": tag}} : {});
        if (answer.status === 200) {
          tag = answer.headers.get("ETag") || "";
          data = await answer.json();
          const y = window.scrollY;
          document.body.style.minHeight = document.body.offsetHeight + "px";
          draw();
          document.body.style.minHeight = "";
          window.scrollTo(0, y);
        }
      } catch (error) {
        $("title").textContent = "watch: the server is gone (is `moe watch` still running?)";
      }
      await new Promise((done) => setTimeout(done, 2500));
    }
  }

  const asked = new URLSearchParams(location.search).get("theme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.classList.toggle("dark", asked ? asked === "dark" : prefersDark.matches);
  $("theme").onclick = () => { document.documentElement.classList.toggle("dark"); draw(); };
  prefersDark.onchange = () => { document.documentElement.classList.toggle("dark", prefersDark.matches); draw(); };
  $("smooth").oninput = $("logarithmic").onchange = $("others").ontoggle = drawCharts;
  $("heat-run").onchange = $("heat-time").oninput = $("heat-layer").onchange = drawHeat;
  $("layers-name").onchange = drawLayers;
  window.addEventListener("resize", () => { drawHeat(); drawLayers(); });
  draw();
  if (LIVE) poll();
})();
