// SPDX-License-Identifier: MIT
// The report's page: DATA (report/page.h) as charts. With LIVE it asks the server again every few seconds.
"use strict";
(() => {
  // The palette of Okabe and Ito: told apart with any kind of colour vision. In the dark its lighter half goes first.
  const COLOURS = {light: ["#0072b2", "#d55e00", "#009e73", "#b0568c", "#b37d00", "#3a9bd0"],
                   dark: ["#56b4e9", "#ff9a4d", "#2fc79a", "#e39cc6", "#f0e442", "#9db8ff"]};
  // What is drawn where: section, title, unit, names (several curves of one run differ in dashes; the last one is on top),
  // their labels. log: the axis that fits; zero: it begins at 0.
  const chart = (section, title, unit, wanted, more = {}) => ({section, title, unit, wanted, ...more});
  const CHARTS = [
    chart("loss", "Loss", "nats per token", ["loss", "validation_loss"], {labels: ["training", "validation"]}),
    chart("loss", "Bits per byte of held-out text", "bits", ["validation_bits_per_byte"]),
    chart("loss", "Learning rate", "", ["learning_rate"], {zero: true, exact: true}),
    chart("speed", "Speed", "tokens per second", ["tokens_per_second"], {zero: true}),
    chart("speed", "Time of a step", "seconds", ["step_seconds", "data_wait_seconds"],
          {labels: ["whole step", "waiting for data"], zero: true}),
    chart("speed", "Where the time between two rows went", "seconds", /^seconds\//),
    chart("speed", "Share of the GPU's peak (MFU)", "0 to 1", ["mfu"], {zero: true}),
    chart("gradients", "Gradient norm, before clipping", "L2 norm", ["gradient_norm"]),
    chart("gradients", "Gradient norm by group", "L2 norm", /^gradient_norm\//, {log: true}),
    chart("gradients", "Update over weight by group", "ratio of norms", /^update_ratio\//, {log: true}),
    chart("gradients", "Weight norm by group", "L2 norm", /^weight_norm\//, {log: true}),
    chart("experts", "How even the load is", "entropy, 1 is even", ["expert_load_entropy"]),
    chart("experts", "Spread of the load", "deviation over mean, 0 is even", ["expert_load_cv"], {zero: true}),
    chart("experts", "Busiest expert of all layers", "load over mean, 1 is even", ["expert_load_max_over_mean"]),
    chart("experts", "Dropped assignments", "share, 0 to 1", ["dropped_share"], {zero: true}),
    chart("experts", "Experts without a token in the step", "experts", ["dead_experts"], {zero: true}),
    chart("experts", "Balance loss", "1 is even", ["balance_loss"]),
    chart("experts", "z loss", "", ["z_loss"]),
    chart("inside", "Attention on the first token", "share, 0 to 1", ["attention_sink", "attention_sink_uniform"],
          {labels: ["model", "if it looked at all alike"], zero: true}),
    chart("inside", "Mean gate of the attention", "0 to 1", ["gate_mean"]),
    chart("inside", "Largest activation", "absolute value", ["max_activation"]),
    chart("inside", "Router's confidence", "largest probability, mean", ["router_confidence"]),
  ];
  const LAYERS = {entropy: "how even the load is (entropy, 1 is even)", load_cv: "spread of the load (0 is even)",
                  max_over_mean: "busiest expert, load over mean", dead_share: "share of experts without a token",
                  dropped_share: "share of dropped assignments", balance_loss: "balance loss", z_loss: "z loss",
                  router_confidence: "router's confidence", attention_sink: "attention on the first token",
                  gate_mean: "mean gate of the attention", max_activation: "largest activation"};
  const HIDDEN = new Set(["tokens", "perplexity", "validation_perplexity", "parameters", "active_parameters"]);
  const DASHES = [[], [6, 4], [2, 3], [10, 3, 2, 3], [1, 2], [8, 2]];
  const $ = (id) => document.getElementById(id);
  let data = DATA, charts = [];

  const dark = () => document.documentElement.classList.contains("dark");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (i) => COLOURS[dark() ? "dark" : "light"][i % 6];
  function short(x) {
    if (x === null || x === undefined) return "-";
    const power = Math.abs(x) < 1e4 ? 0 : Math.min(Math.floor(Math.log10(Math.abs(x)) / 3), 5);
    if (power) return +(x / 1000 ** power).toPrecision(4) + " " + " KMBTP"[power];
    return x !== 0 && Math.abs(x) < 1e-4 ? x.toExponential(1).replace(".0", "") : String(+x.toPrecision(4));
  }

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

  function datasets(wanted, labels, exact) {
    const keep = exact ? 0 : Number($("smooth").value), list = [];
    const byColour = data.runs.length === 1 && wanted.length > 1;
    data.runs.forEach((run, r) => wanted.forEach((name, n) => {
      const series = run.series[name];
      if (!series) return;
      const paint = colour(byColour ? n : r), points = (values) => series.step.map((x, i) => ({x, y: values[i]}));
      const label = (data.runs.length > 1 ? run.name + " " : "") +
          (labels && wanted.length > 1 ? labels[n] : wanted.length > 1 ? name.split("/").pop() : data.runs.length > 1 ? "" : name);
      if (series.low && keep === 0 && wanted.length === 1) {
        list.push({data: points(series.low), borderWidth: 0, pointRadius: 0, label: "", fill: "+1", backgroundColor: paint + "33"});
        list.push({data: points(series.high), borderWidth: 0, pointRadius: 0, label: ""});
      }
      const dots = series.step.length < 40 ? 2 : 0;
      if (keep > 0 && !dots)
        list.push({data: points(series.mean), borderColor: paint + "38", borderWidth: 1, pointRadius: 0, label: "", order: 9});
      list.push({label, legend: labels ? labels[n] : name.split("/").pop(), run: r, data: points(dots ? series.mean : smoothed(series.mean, keep)), borderColor: paint, backgroundColor: paint,
                 borderWidth: 1.6, order: -n, borderDash: wanted.length > 2 && byColour ? [] : DASHES[n % 6], spanGaps: true,
                 pointRadius: dots, pointHoverRadius: 4, tension: 0});
    }));
    return list;
  }

  // With several runs the head of the page says which colour is whose, and a legend only which dashes are what.
  function inLegend(all, i) {
    const one = all[i];
    return one.label !== "" && (one.legend === undefined || all.findIndex((other) => other.legend === one.legend) === i);
  }
  function shortLabels(chart) {
    const made = Chart.defaults.plugins.legend.labels.generateLabels(chart);
    for (const item of made) {
      const one = chart.data.datasets[item.datasetIndex];
      if (one.legend !== undefined && data.runs.length > 1) item.text = one.legend, item.strokeStyle = css("--ink"), item.fillStyle = "transparent";
    }
    return made;
  }
  // Of a logarithmic axis the powers of ten, and 2 and 5 times them where those are few.
  function logTick(value, all) {
    const first = Math.round(value / 10 ** Math.floor(Math.log10(value) + 1e-9) * 10) / 10;
    const decades = Math.log10(all[all.length - 1].value / all[0].value);
    return first === 1 || (decades < 2 && (first === 2 || first === 5)) ? short(value) : "";
  }

  function options(many, {unit = "", across = "step", zero = false, flat = false, log = false} = {}) {
    const soft = css("--soft"), line = css("--line"), scale = $("scale").value;
    const logarithmic = scale === "log" || (scale === "fit" && log);
    const named = (text) => ({display: text !== "", text, color: soft, font: {size: 11}, padding: 2});
    const axis = {ticks: {color: soft, maxTicksLimit: 7}, grid: {color: (at) => at.tick && at.tick.label === "" ? "transparent" : line, borderColor: line}};
    return {animation: false, responsive: true, maintainAspectRatio: false, parsing: false, normalized: true,
            interaction: {mode: "nearest", axis: "x", intersect: false},
            scales: {x: {...axis, type: "linear", title: named(across),
                         ticks: {...axis.ticks, maxRotation: 0, callback: (value) => short(value)}},
                     y: {...axis, type: logarithmic ? "logarithmic" : "linear", title: named(unit),
                         ...(zero && !logarithmic ? {beginAtZero: true} : {}), ...(flat ? {min: 0, max: 1} : {}),
                         ticks: {...axis.ticks, ...(logarithmic ? {maxTicksLimit: 40, autoSkip: false} : {}),
                                 callback: (value, i, all) => logarithmic ? logTick(value, all) : short(value)}}},
            plugins: {legend: {display: many, labels: {color: soft, boxWidth: 14, boxHeight: 2, font: {size: 11},
                                                       filter: (item, chart) => inLegend(chart.datasets, item.datasetIndex),
                                                       generateLabels: shortLabels}},
                      tooltip: {filter: (item) => item.dataset.label !== "",
                                callbacks: {title: (items) => items.length ? across + " " + items[0].parsed.x.toLocaleString("en") : "",
                                            label: (item) => item.dataset.label.trim() + ": " + short(item.parsed.y)}}}};
  }

  function addCard(section, title, made, how) {
    const card = document.createElement("div");
    card.className = "card";
    card.innerHTML = "<h3></h3><div class=plot><canvas></canvas></div>";
    card.querySelector("h3").textContent = title;
    $(section).append(card);
    charts.push(new Chart(card.querySelector("canvas"), {type: "line", data: {datasets: made}, options: how}));
  }

  function addChart(one, found) {
    const labels = one.labels && found.map((name) => one.labels[one.wanted.indexOf(name)]);
    const made = datasets(found, labels, one.exact), flat = made.every((curve) => curve.data.every((point) => !point.y));
    addCard(one.section, one.title, made, options(found.length > 1, {...one, flat, log: one.log && !flat}));
  }

  function drawCharts() {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    drawComparison();
    const used = new Set(HIDDEN);
    for (const id of ["loss", "speed", "gradients", "experts", "inside", "rest"]) $(id).textContent = "";
    if (!waiting())
      for (const one of CHARTS) {
        const found = names(one.wanted);
        found.forEach((name) => used.add(name));
        if (found.length) addChart(one, found);
      }
    const others = names(/./).filter((name) => !used.has(name) && !/^(memory|start_seconds)\//.test(name));
    $("others").hidden = waiting() || others.length === 0;
    if ($("others").open) for (const name of others) addChart(chart("rest", name, "", [name]), [name]);
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

  // Nothing is trained yet, and somebody is about to.
  const waiting = () => data.runs.every((run) => run.last_step === 0 && !["ended", "stopped", "failed", "died"].includes(run.status.state));

  const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

  function addTile(parent, [label, value]) {
    const tile = element(parent, "div", "", value.length > 12 ? "tile long" : "tile");
    element(tile, "b", value);
    element(tile, "small", label);
  }

  // One run: its figures as tiles. Several: a card for each.
  function drawTiles() {
    const one = data.runs.length === 1;
    for (const id of ["tiles", "cards", "legend", "status", "outline"]) $(id).textContent = "";
    $("status").hidden = !one || !data.runs[0].status.text;
    if (one) {
      const {status} = data.runs[0];
      $("status").className = "status " + status.state;
      $("status").textContent = status.text;
    } else {
      data.runs.forEach((run, i) => element($("legend"), "span", run.name).style.setProperty("--run", colour(i)));
    }
    $("empty").hidden = !waiting();
    $("waiting").textContent = one ? capital(data.runs[0].status.text) || "No rows yet" : LIVE && !data.runs.length ? "Asking the server" : "No rows yet";
    if (waiting() && one) data.runs[0].outline.forEach((fact) => addTile($("outline"), fact));
    else if (one) data.runs[0].facts.forEach((fact) => addTile($("tiles"), fact));
    if (one || data.comparison) return;
    data.runs.forEach((run, i) => {
      const card = element($("cards"), "div", "", "card run");
      card.style.setProperty("--run", colour(i));
      element(card, "h3", run.name);
      if (run.status.text) element(card, "p", run.status.text, "hint");
      const table = element(card, "table", "");
      for (const [label, value] of run.facts) {
        const row = element(table, "tr", "");
        element(row, "td", label);
        element(row, "td", value);
      }
    });
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
      for (const note of run.texts.filter((one) => one.kind !== "device")) {
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
    for (const arm of all.arms.slice(1)) element($("comparison"), "p", arm.verdict_words + ".");
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
        data: run.curve[what].map((x, j) => ({x, y: run.curve.validation_loss[j]}))}))), options(true, {unit: "nats per token", across: what}));
  }

  const mix = (stops, x) => {
    const at = Math.min(Math.max(x, 0), 1) * (stops.length - 1), i = Math.min(Math.floor(at), stops.length - 2), f = at - i;
    return `rgb(${stops[i].map((v, c) => Math.round(v + f * (stops[i + 1][c] - v))).join(",")})`;
  };
  // Perceptually even, readable in light and dark: dark blue over teal to yellow.
  const EVEN = [[48, 18, 110], [42, 85, 150], [33, 145, 140], [120, 200, 90], [253, 231, 37]];
  // From too little over even to too much, told apart with any kind of colour vision.
  const SIDES = {light: [[8, 48, 107], [66, 146, 198], [240, 240, 238], [241, 163, 64], [140, 45, 4]],
                 dark: [[120, 190, 255], [40, 110, 170], [38, 43, 50], [200, 110, 20], [255, 190, 110]]};
  // A load over the mean: twice as much is as far from 1 as half as much; below 1/4 and above 4 all is alike.
  const LOAD = {share: (x) => x > 0 ? (Math.log2(x) + 2) / 4 : 0, colour: (x) => mix(SIDES[dark() ? "dark" : "light"], x),
                marks: [[1, "≥ 4"], [0.75, "2"], [0.5, "1"], [0.25, "½"], [0, "≤ ¼"]]};
  const between = (low, high) => ({share: (x) => high > low ? (x - low) / (high - low) : 0.5, colour: (x) => mix(EVEN, x),
                                   marks: [[1, short(high)], [0, short(low)]]});

  // value(row, column) as cells, with a scale at the right. what(row, column): of the cell under the mouse.
  function drawMap(canvas, rows, columns, value, scale, {first = 0, down, across, marks, what}) {
    canvas.style.height = Math.min(Math.max(260, 46 + 6 * rows), 640) + "px";
    const ratio = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    canvas.width = box.width * ratio;
    canvas.height = box.height * ratio;
    const paint = canvas.getContext("2d");
    paint.scale(ratio, ratio);
    const left = 52, top = 6, bottom = 36, right = 58, width = box.width - left - right, height = box.height - bottom - top;
    for (let r = 0; r < rows; ++r)
      for (let c = 0; c < columns; ++c) {
        paint.fillStyle = scale.colour(scale.share(value(r, c)));
        const x = Math.floor(c * width / columns), y = Math.floor(r * height / rows);
        const gap = width / columns > 8 && height / rows > 8 ? 1 : 0;
        paint.fillRect(left + x, top + y, Math.floor((c + 1) * width / columns) - x - gap, Math.floor((r + 1) * height / rows) - y - gap);
      }
    paint.fillStyle = css("--soft");
    paint.font = "11px system-ui, sans-serif";
    paint.textAlign = "right";
    const every = Math.ceil(rows / 12);
    for (let r = 0; r < rows; r += every) paint.fillText(r + first, left - 6, top + (r + 0.5) * height / rows + 4);
    paint.textAlign = "center";
    for (const [share, text] of marks) paint.fillText(text, left + share * width, top + height + 15);
    paint.fillText(across, left + width / 2, box.height - 4);
    paint.save();
    paint.translate(12, top + height / 2);
    paint.rotate(-Math.PI / 2);
    paint.fillText(down, 0, 0);
    paint.restore();
    paint.textAlign = "left";
    for (let i = 0; i < 60; ++i) {
      paint.fillStyle = scale.colour(1 - i / 59);
      paint.fillRect(box.width - right + 10, top + i * height / 60, 10, height / 60 + 1);
    }
    paint.fillStyle = css("--soft");
    for (const [share, text] of scale.marks) paint.fillText(text, box.width - right + 24, top + 8 + (1 - share) * (height - 8));
    canvas.onmousemove = (event) => {
      const c = Math.floor((event.offsetX - left) / width * columns), r = Math.floor((event.offsetY - top) / height * rows);
      canvas.title = c >= 0 && c < columns && r >= 0 && r < rows ? what(r, c) + ": " + short(value(r, c)) : "";
    };
  }

  function fill(select, texts) {
    const before = select.value;
    select.textContent = "";
    texts.forEach((text, i) => { element(select, "option", text).value = i; });
    if (before !== "" && before < texts.length) select.value = before;
  }

  const timeMarks = (step) => step.length < 2 ? [] : [[0.02, short(step[0])], [0.5, short(step[Math.floor(step.length / 2)])],
                                                      [0.96, short(step[step.length - 1])]];
  const firstRouter = (run) => run.config.model && run.config.model.first_dense_layers || 0;

  function drawHeat() {
    const runs = waiting() ? [] : data.runs.filter((run) => run.load.step.length);
    $("heat").hidden = runs.length === 0;
    if (!runs.length) return;
    fill($("heat-run"), runs.map((run) => run.name));
    $("heat-run").hidden = runs.length < 2;
    const run = runs[$("heat-run").value || 0], load = run.load, first = firstRouter(run), time = $("heat-time"), atEnd = time.value === time.max;
    time.max = load.step.length - 1;
    if (atEnd) time.value = time.max;
    fill($("heat-layer"), [...Array(load.rows).keys()].map((layer) => "layer " + (layer + first)));
    $("heat-step").textContent = "step " + load.step[time.value];
    const slice = load.values[time.value], layer = Number($("heat-layer").value || 0);
    const across = [...Array(load.columns).keys()].filter((e) => e % Math.ceil(load.columns / 10) === 0);
    drawMap($("heat-load"), load.rows, load.columns, (r, c) => slice[r * load.columns + c], LOAD,
            {first, down: "layer", across: "expert", marks: across.map((e) => [(e + 0.5) / load.columns, e]),
             what: (r, c) => "layer " + (r + first) + ", expert " + c});
    drawMap($("heat-history"), load.columns, load.step.length, (r, c) => load.values[c][layer * load.columns + r], LOAD,
            {down: "expert", across: "step", marks: timeMarks(load.step), what: (r, c) => "expert " + r + ", step " + load.step[c]});
  }

  function drawLayers() {
    const all = waiting() ? [] : [...new Set(data.runs.flatMap((run) => Object.keys(run.maps)))].sort();
    $("layers-section").hidden = all.length === 0;
    if (!all.length) return;
    fill($("layers-name"), all.map((name) => LAYERS[name.slice(7)] || name));
    const name = all[$("layers-name").value || 0], maps = data.runs.map((run) => run.maps[name]);
    // One scale for all runs.
    const values = maps.filter(Boolean).flatMap((map) => map.values.flat()), low = values.reduce((a, b) => Math.min(a, b)),
          high = values.reduce((a, b) => Math.max(a, b));
    $("layers").textContent = "";
    data.runs.forEach((run, i) => {
      const map = maps[i];
      if (!map) return;
      const figure = element($("layers"), "figure", ""), canvas = element(figure, "canvas", "");
      if (data.runs.length > 1) element(figure, "figcaption", run.name);
      const first = map.rows === (run.config.model || {}).n_layers ? 0 : firstRouter(run);
      drawMap(canvas, map.rows, map.step.length, (r, c) => map.values[c][r], between(low, high),
              {first, down: "layer", across: "step", marks: timeMarks(map.step), what: (r, c) => "layer " + (r + first) + ", step " + map.step[c]});
    });
  }

  // Of one run all of them; of several those that differ are another table.
  function drawSettings() {
    const one = data.runs.length === 1 ? Object.entries(data.runs[0].config) : [];
    $("settings").hidden = one.length === 0;
    $("settings-table").textContent = "";
    if (!one.length) return;
    const table = element(element($("settings-table"), "div", "", "scroll"), "table", "");
    for (const [section, values] of one)
      for (const [key, value] of Object.entries(values)) {
        const row = element(table, "tr", "");
        element(row, "td", section + "." + key);
        element(row, "td", typeof value === "string" ? value : JSON.stringify(value));
      }
  }

  function draw() {
    const runs = data.runs.map((run) => run.name).join(", "), run = data.runs.length === 1 ? data.runs[0] : null;
    $("title").textContent = runs;
    document.title = (runs ? runs + (LIVE && run && run.last_step ? ", step " + run.last_step : "") + " - " : "") + (LIVE ? "moe watch" : "moe report");
    drawTiles();
    drawNotes();
    drawCharts();
    drawHeat();
    drawLayers();
    drawDifferences();
    drawMemory();
    drawTexts();
    drawSettings();
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
        $("status").hidden = false;
        $("status").className = "status died";
        $("status").textContent = "the server is gone: is `moe watch` still running?";
        tag = "";
      }
      await new Promise((done) => setTimeout(done, 2500));
    }
  }

  const asked = new URLSearchParams(location.search).get("theme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  document.documentElement.classList.toggle("dark", asked ? asked === "dark" : prefersDark.matches);
  $("theme").onclick = () => { document.documentElement.classList.toggle("dark"); draw(); };
  prefersDark.onchange = () => { document.documentElement.classList.toggle("dark", prefersDark.matches); draw(); };
  $("smooth").value = SMOOTH;
  $("smooth").oninput = $("scale").onchange = $("others").ontoggle = drawCharts;
  $("heat-run").onchange = $("heat-time").oninput = $("heat-layer").onchange = drawHeat;
  $("layers-name").onchange = drawLayers;
  window.addEventListener("resize", () => { drawHeat(); drawLayers(); });
  draw();
  if (LIVE) poll();
})();
