"use strict";
// Zooms and moves the picture, and links it with the list of steps. Horizontal places are multiplied by
// `zoom`; `shift` moves everything. Both are in pixels of the picture as it was written.
(() => {
  const $ = (id) => document.getElementById(id);
  const svg = $("timeline"), stage = $("stage"), plot = $("plot"), tip = $("tip");
  const data = svg.dataset;
  const gutter = +data.gutter, whole = +data.plot;
  // Where times are, as [time, place]; in between in proportion. What is flatter than the rest is a
  // stretch in which nothing happens.
  const knots = data.knots.split(" ").map((knot) => knot.split(":").map(Number));
  const from = knots[0][0], to = knots[knots.length - 1][0];
  const violation = +data.violation, isSteps = data.axis === "steps";
  const focus = data.focus.split(",").map(Number);
  let width = whole, zoom = 1, shift = 0, drawnZoom = NaN, pinned = null;

  function between(value, [a, b], [c, d], one, other) {
    const part = (value - [a, b][one]) / ([c, d][one] - [a, b][one] || 1);
    return [a, b][other] + Math.min(1, Math.max(0, part)) * ([c, d][other] - [a, b][other]);
  }
  function convert(value, one, other) {
    let i = 1;
    while (i < knots.length - 1 && knots[i][one] < value) i++;
    return knots.length < 2 ? knots[0][other] : between(value, knots[i - 1], knots[i], one, other);
  }
  const place = (time) => convert(time, 0, 1);
  const timeAt = (px) => convert((px - shift) / zoom, 1, 0);
  const paces = knots.slice(1).map(([time, x], i) => (x - knots[i][1]) / (time - knots[i][0] || 1));
  const pace = Math.max(...paces, 1e-12);
  const gaps = knots.slice(1).flatMap((end, i) => (paces[i] < pace * 0.9 ? [[knots[i], end]] : []));
  // As far in as a fiftieth of a millisecond, or half a step.
  const ZOOM_MAX = Math.max(20, (isSteps ? 90 / 5e5 : 90 / 2e4) / pace);
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // What there is in the picture, with its places as written.
  const LETTER = 6.4, LETTERS_MIN = 6;
  const things = [], labels = [], keyLabels = [], numbers = new Map(), ofStep = new Map();
  for (const element of plot.children) {
    const number = (name) => parseFloat(element.getAttribute(name));
    const kind = element.tagName;
    const thing = { element, kind, x: number(kind === "line" ? "x1" : "x") };
    if (kind === "rect") thing.w = number("width");
    if (kind === "line") thing.x2 = number("x2");
    if (kind === "polyline") {
      thing.points = element.getAttribute("points").trim().split(" ").map((p) => p.split(",").map(Number));
      thing.x = thing.points[0][0];
    }
    if (element.dataset.w) {
      thing.w = +element.dataset.w;
      thing.full = element.textContent;
      thing.isCut = element.classList.contains("fl");
      // A fault's text has more room than its bar, but does not outlast it.
      thing.bar = thing.isCut ? element.previousElementSibling?.thing?.w ?? 0 : thing.w;
      labels.push(thing);
      continue;
    }
    const title = element.querySelector("title");
    if (title) {
      thing.tip = title.textContent;
      title.remove();
      element.setAttribute("aria-label", thing.tip);
      element.setAttribute("role", "img");
      element.setAttribute("tabindex", "-1");
    }
    if (kind === "text") {
      thing.needs = element.textContent.length * 6.2 + 6;
      const row = element.getAttribute("y");
      if (!numbers.has(row)) numbers.set(row, []);
      numbers.get(row).push(thing);
    }
    if (kind === "rect" && element.classList.contains("k") && !element.classList.contains("b")) {
      // A key's label is in its tooltip.
      const token = /c\d+\.\d+\/\d+/.exec(thing.tip)?.[0];
      if (token) keyLabels.push([element, { kind: "text", x: thing.x, w: thing.w, bar: thing.w, full: token }]);
    }
    thing.step = element.dataset.s;
    if (thing.step !== undefined) {
      if (!ofStep.has(thing.step)) ofStep.set(thing.step, []);
      ofStep.get(thing.step).push(element);
    }
    element.thing = thing;
    things.push(thing);
  }
  for (const [element, label] of keyLabels) {
    label.element = make("text", { class: "lb", dx: 4, y: +element.getAttribute("y") + 12 }, label.full);
    element.after(label.element);
    labels.push(label);
  }
  const arrows = things.filter(({ kind, element }) => kind === "line" && element.classList.contains("m")).length;
// In order of time; what says the same is one stop.
  const stops = new Map();
  for (const thing of things) if (thing.tip && !stops.has(thing.tip)) stops.set(thing.tip, thing);
  const inOrder = [...stops.values()].sort((a, b) => a.x - b.x);
  const steps = [...document.querySelectorAll("#steps li")];
  const list = document.querySelector("#steps ol");
  // The list alone scrolls, not the page with it.
  function reveal(item) {
    if (!item) return;
    const box = list.getBoundingClientRect(), own = item.getBoundingClientRect();
    if (own.top < box.top) list.scrollTop -= box.top - own.top + 8;
    else if (own.bottom > box.bottom) list.scrollTop += own.bottom - box.bottom + 8;
  }

  const round = (px) => Math.round(px * 10) / 10;
  function draw() {
    if (zoom !== drawnZoom) {
      drawnZoom = zoom;
      for (const { element, kind, x, w, x2, points } of things) {
        if (kind === "rect") {
          element.setAttribute("x", round(x * zoom));
          element.setAttribute("width", Math.max(1, round(w * zoom)));
        } else if (kind === "line") {
          element.setAttribute("x1", round(x * zoom));
          element.setAttribute("x2", round(x2 * zoom));
        } else if (kind === "polyline") {
          element.setAttribute("points", points.map(([px, y]) => `${round(px * zoom)},${y}`).join(" "));
        } else {
          element.setAttribute("x", round(x * zoom));
        }
      }
      for (const row of numbers.values()) {
        let free = -Infinity;
        for (const { element, x, needs } of row) {
          const fits = x * zoom >= free;
          element.style.display = fits ? "" : "none";
          if (fits) free = x * zoom + needs;
        }
      }
    }
    plot.setAttribute("transform", `translate(${round(shift)} 0)`);
    svg.classList.toggle("dense", arrows / (whole * zoom) > 0.25);
    // A label stays in sight as long as its bar does.
    for (const { element, x, w, bar, full, isCut } of labels) {
      const begin = Math.max(x * zoom, Math.min(-shift, (x + bar) * zoom)), end = (x + w) * zoom;
      const letters = Math.floor((end - begin - 8) / LETTER);
      const fits = letters >= full.length || (isCut && letters >= LETTERS_MIN);
      element.style.display = fits ? "" : "none";
      if (!fits) continue;
      element.setAttribute("x", round(begin));
      if (isCut) element.textContent = letters < full.length ? `${full.slice(0, letters - 1)}…` : full;
    }
    drawTicks();
    drawFlag();
  }

  const bottom = +svg.getAttribute("height") - 8;
  const TICKS_APART = 90;
  const span = (time) => (time >= 1e6 ? `${+(time / 1e6).toFixed(1)} ms` : `${+(time / 1e3).toFixed(1)} µs`);
  function drawTicks() {
    const unit = isSteps ? 1e6 : 1;
    const least = TICKS_APART / pace / zoom;
    let step = unit;
    for (let i = 0; step < least; i++) step = unit * 10 ** Math.floor(i / 3) * [1, 2, 5][i % 3];
    const digits = step >= 1e6 ? 0 : Math.min(6, Math.ceil(6 - Math.log10(step)));
    const ticks = [], taken = [];
    for (const [begin, end] of gaps) {
      const x = begin[1] * zoom + shift, width = (end[1] - begin[1]) * zoom, middle = x + width / 2;
      ticks.push(make("rect", { class: "gap", x: round(x), y: 34, width: round(width), height: bottom - 34 }));
      if (middle - (taken[taken.length - 1] ?? -Infinity) < TICKS_APART) continue;
      ticks.push(make("text", { class: "tick skip", x: round(middle), y: 28 }, `⋯ ${span(end[0] - begin[0])} ⋯`));
      taken.push(middle);
    }
    const first = Math.max(from, timeAt(0)), last = Math.min(to, timeAt(width));
    for (let at = Math.ceil(first / step) * step; at <= last; at += step) {
      const gap = gaps.find(([begin, end]) => begin[0] < at && at < end[0]);
      if (gap) {
        at = Math.max(at, Math.ceil(gap[1][0] / step) * step - step);
        continue;
      }
      const x = round(place(at) * zoom + shift);
      ticks.push(make("path", { class: "grid", d: `M${x} 34V${bottom}` }));
      if (taken.some((middle) => Math.abs(middle - x) < TICKS_APART * 0.72)) continue;
      const text = isSteps ? `${Math.round(at / unit)}` : `${(at / 1e6).toFixed(digits)} ms`;
      ticks.push(make("text", { class: "tick", x, y: 28 }, text));
    }
    $("ticks").replaceChildren(...ticks);
  }

  const [veil, red, redText] = [".veil", ".red", ".redtext"].map((name) => $("flag").querySelector(name));
  const cursor = make("line", { class: "cursor", y1: 34, y2: bottom, visibility: "hidden" });
  $("flag").append(cursor);
  let cursorTime = null;
  function drawFlag() {
    if (red) {
      const x = round(place(violation) * zoom + shift);
      red.setAttribute("x1", x);
      red.setAttribute("x2", x);
      veil.setAttribute("x", x);
      veil.setAttribute("width", Math.max(0, round(whole * zoom + shift - x)));
      redText.setAttribute("x", x);
      redText.classList.toggle("left", x > width - 170);
    }
    cursor.setAttribute("visibility", cursorTime === null ? "hidden" : "visible");
    if (cursorTime !== null) {
      const x = round(place(cursorTime) * zoom + shift);
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
  }

  // Some of the picture always stays in sight, and it never becomes smaller than the stage.
  function view(newZoom, newShift) {
    const least = width / whole;
    zoom = Math.min(Math.max(newZoom, least), least * ZOOM_MAX);
    shift = Math.min(0, Math.max(newShift, width - whole * zoom));
    draw();
  }
  const zoomAt = (px, factor) => {
    const least = width / whole;
    const target = Math.min(Math.max(zoom * factor, least), least * ZOOM_MAX);
    view(target, px - ((px - shift) * target) / zoom);
  };
  const move = (px) => view(zoom, shift + px);
  const fit = () => view(0, 0);
  const show = (begin, end) => {
    const target = width / Math.max(place(end) - place(begin), 1e-6);
    view(target, -place(begin) * Math.min(target, (width / whole) * ZOOM_MAX));
  };
  const center = (time) => view(zoom, width / 2 - place(time) * zoom);
  function jump() {
    if (violation < 0) return fit();
    show(focus[0], focus[1]);
    reveal(steps.find((step) => step.classList.contains("bad")));
  }

  function resize() {
    const before = { begin: timeAt(0), end: timeAt(width), isWhole: zoom <= (width / whole) * 1.001 };
    width = Math.max(160, stage.clientWidth - gutter - 1);
    svg.setAttribute("width", width + gutter);
    $("hole").setAttribute("width", width);
    for (const lane of svg.querySelectorAll(".lane")) lane.setAttribute("width", width);
    drawnZoom = NaN;
    if (before.isWhole) fit();
    else show(before.begin, before.end);
  }

  // Tooltips, and what belongs together.
  function say(text, x, y) {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(6, Math.min(x + 12, innerWidth - box.width - 6))}px`;
    tip.style.top = `${y + 16 + box.height > innerHeight ? y - box.height - 10 : y + 16}px`;
  }
  const hush = () => (tip.hidden = true);
  function heat(step, scrolls) {
    for (const hot of document.querySelectorAll(".hot")) hot.classList.remove("hot");
    svg.classList.toggle("some", step !== null && step !== undefined);
    cursorTime = null;
    if (step !== null && step !== undefined) {
      const item = steps[step];
      const like = item?.dataset.l ?? step;
      for (const element of ofStep.get(String(like)) ?? []) element.classList.add("hot");
      item?.classList.add("hot");
      if (item) cursorTime = +item.dataset.t;
      if (scrolls) reveal(item);
    }
    drawFlag();
  }
  const cool = () => heat(pinned, false);
  const thingOf = (event) => event.target.closest?.("#plot > *")?.thing;

  stage.addEventListener("pointerover", (event) => {
    const thing = thingOf(event);
    if (!thing?.tip || drag) return;
    say(thing.tip, event.clientX, event.clientY);
    if (thing.step !== undefined) heat(thing.step, true);
  });
  stage.addEventListener("pointerout", () => {
    hush();
    cool();
  });
  plot.addEventListener("focusin", (event) => {
    const thing = thingOf(event);
    if (!thing?.tip) return;
    const x = thing.x * zoom + shift;
    if (x < 0 || x > width) view(zoom, width / 2 - thing.x * zoom);
    const box = thing.element.getBoundingClientRect();
    say(thing.tip, Math.max(box.left, stage.getBoundingClientRect().left + gutter), box.bottom - 8);
    heat(thing.step ?? null, true);
  });
  plot.addEventListener("focusout", () => {
    hush();
    cool();
  });

  for (const [index, item] of steps.entries()) {
    item.addEventListener("pointerenter", () => heat(index, false));
    item.addEventListener("pointerleave", cool);
    item.addEventListener("focusin", () => heat(index, false));
    item.addEventListener("focusout", cool);
    item.addEventListener("click", () => {
      pinned = pinned === index ? null : index;
      heat(index, false);
      const x = place(+item.dataset.t) * zoom + shift;
      if (x < 0 || x > width) center(+item.dataset.t);
    });
  }

  // Pointers: one moves, two zoom, a click without a movement pins.
  const pointers = new Map();
  let drag = false, apart = 0;
  const inPlot = (clientX) => clientX - stage.getBoundingClientRect().left - gutter;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, event);
    apart = 0;
    drag = false;
  });
  addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    if (pointers.size === 2) {
      pointers.set(event.pointerId, event);
      const [one, other] = [...pointers.values()];
      const distance = Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
      if (apart > 0) zoomAt(inPlot((one.clientX + other.clientX) / 2), distance / apart);
      apart = distance;
      drag = true;
      return;
    }
    const by = event.clientX - before.clientX;
    if (!drag && Math.abs(by) < 4) return;
    drag = true;
    hush();
    stage.classList.add("drag");
    move(by);
    pointers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    addEventListener(name, (event) => {
      if (!pointers.delete(event.pointerId)) return;
      stage.classList.remove("drag");
      if (name === "pointerup" && !drag) {
        const step = thingOf(event)?.step;
        pinned = step === undefined || pinned === +step ? null : +step;
        cool();
      }
      drag = false;
    });
  }
  stage.addEventListener("dblclick", (event) => zoomAt(inPlot(event.clientX), event.shiftKey ? 0.5 : 2));
  stage.addEventListener(
    "wheel",
    (event) => {
      const isWhole = zoom <= (width / whole) * 1.001;
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey) {
        event.preventDefault();
        return move(-(event.deltaX || event.deltaY));
      }
      // The page scrolls where there is nothing left to zoom out of.
      if (isWhole && event.deltaY > 0) return;
      event.preventDefault();
      zoomAt(inPlot(event.clientX), 2 ** (-event.deltaY / (event.deltaMode === 1 ? 12 : 240)));
    },
    { passive: false },
  );

  let at = -1;
  function go(by) {
    if (inOrder.length === 0) return;
    const current = inOrder.findIndex((thing) => thing.element === document.activeElement);
    if (current >= 0) at = current;
    else if (at < 0) at = inOrder.findIndex((thing) => thing.x * zoom + shift >= 0) - (by > 0 ? 1 : 0);
    at = Math.min(Math.max(at + by, 0), inOrder.length - 1);
    inOrder[at].element.focus({ preventScroll: true });
  }
  const keys = {
    ArrowLeft: () => move(width * 0.15),
    ArrowRight: () => move(-width * 0.15),
    ArrowUp: () => go(-1),
    ArrowDown: () => go(1),
    "+": () => zoomAt(width / 2, 1.5),
    "=": () => zoomAt(width / 2, 1.5),
    "-": () => zoomAt(width / 2, 1 / 1.5),
    0: fit,
    f: fit,
    v: jump,
    Escape: () => {
      pinned = null;
      cool();
      stage.focus();
    },
  };
  stage.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const click = (id, act) => $(id).addEventListener("click", act);
  click("in", () => zoomAt(width / 2, 1.5));
  click("out", () => zoomAt(width / 2, 1 / 1.5));
  click("left", () => move(width * 0.3));
  click("right", () => move(-width * 0.3));
  click("fit", fit);
  click("jump", jump);
  if (violation < 0) $("jump").hidden = true;
  click("theme", () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
  });
  click("copy", () => {
    getSelection().selectAllChildren($("replay"));
    navigator.clipboard?.writeText($("replay").textContent).then(
      () => ($("copy").textContent = "Copied"),
      () => {},
    );
  });

  resize();
  // What leads to the violation, where that is much less than all.
  if (violation >= 0 && focus[1] - focus[0] < (to - from) * 0.6) jump();
  new ResizeObserver(resize).observe(stage);
})();
