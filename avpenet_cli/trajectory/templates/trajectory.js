"use strict";
// Zoom and read-off. Without this script the charts are complete: it only moves what they have, and adds a cursor.
(() => {
  const PER_POINT = 100, PER_SECOND = 10, GAP_PX = 8, DRAG_PX = 5, NEAR_PX = 6;

  for (const figure of document.querySelectorAll("figure.series")) begin(figure);

  function begin(figure) {
    const data = JSON.parse(figure.querySelector("script").textContent);
    const svg = figure.querySelector("svg"), drawing = figure.querySelector(".drawing");
    const readout = figure.querySelector(".readout"), controls = figure.querySelector(".zoom");
    const width = data.right - data.left, lastPiece = data.pieces[data.pieces.length - 1];
    let sum = 0;
    const middles = data.middle.map((step) => (sum += step) / PER_SECOND);
    // Nobody needs to see less than a few segments.
    const least = Math.min(data.length, 20 * data.reach);
    let view = [0, data.length], cursor = null, held = null;

    const all = (query) => [...svg.querySelectorAll(query)];
    const scaled = all(".scaled"), boxes = all("[data-a]"), places = all(".timed [data-t]");
    const labels = all(".labels"), ticks = all(".ticks")[0];
    const dots = all(".dots").map((path) => [path, +path.getAttribute("stroke-width")]);
    const line = add(svg, "path", { class: "cursor", d: `M0 ${data.top}V${data.bottom}`, visibility: "hidden" });
    const range = add(svg, "rect", { class: "range", y: data.top, height: data.bottom - data.top, visibility: "hidden" });

    const perSecond = () => width / (view[1] - view[0]);
    const x = (at) => data.left + (at - view[0]) * perSecond();
    const pxOf = (event) => {
      const box = svg.getBoundingClientRect();
      return (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
    };
    const placeOf = (event) => view[0] + clamp((pxOf(event) - data.left) / width, 0, 1) * (view[1] - view[0]);

    // Between a time and its place on the axis, from which long breaks are cut out.
    function drawn(time) {
      const [start, end, place, length] = data.pieces.find((piece) => time <= piece[1]) || lastPiece;
      return place + (end > start ? clamp((time - start) / (end - start), 0, 1) : 0) * length;
    }
    function timeAt(at) {
      const [start, end, place, length] = data.pieces.find((piece) => at <= piece[2] + piece[3]) || lastPiece;
      return start + (length > 0 ? clamp((at - place) / length, 0, 1) : 0) * (end - start);
    }

    function show(from, length) {
      length = clamp(length, least, data.length);
      from = clamp(from, 0, data.length - length);
      view = [from, from + length];
      const scale = perSecond();
      const matrix = `matrix(${scale / PER_SECOND} 0 0 .1 ${data.left - from * scale} 0)`;
      for (const group of scaled) group.setAttribute("transform", matrix);
      // Fewer dots have room to be larger.
      for (const [path, width] of dots) set(path, { "stroke-width": clamp(width * Math.sqrt(data.length / length), width, 5) });
      for (const box of boxes) {
        // A little beyond the ends, where the clip hides the border.
        const start = clamp(x(+box.dataset.a), data.left - 9, data.right + 9);
        const end = clamp(x(+box.dataset.b), data.left - 9, data.right + 9);
        set(box, { x: start, width: end - start });
      }
      for (const mark of places) mark.setAttribute("transform", `translate(${x(+mark.dataset.t)} ${mark.dataset.y || 0})`);
      labels.forEach(arrange);
      drawTicks();
      point(cursor);
      const whole = length >= data.length;
      const idle = { in: length <= least, out: whole, all: whole, left: from <= 0, right: from + length >= data.length };
      for (const button of controls.querySelectorAll("button")) button.disabled = idle[button.dataset.do];
    }

    // Labels take the lowest row in which they overlap no other; those of stretches stand in the part that is visible.
    function arrange(group) {
      const rows = +group.dataset.rows, free = new Array(Math.max(rows, 1)).fill(-Infinity);
      for (const label of group.children) {
        const at = +label.dataset.t, room = +label.dataset.room, needed = +label.dataset.w;
        let middle = x(at), row = middle >= data.left - 1 && middle <= data.right + 1 ? 0 : -1;
        if (room) {
          const start = Math.max(x(at - room / 2), data.left), end = Math.min(x(at + room / 2), data.right);
          middle = (start + end) / 2;
          row = end - start >= needed + 4 ? 0 : -1;
        } else if (row === 0 && rows) {
          row = free.findIndex((edge) => edge <= middle - needed / 2);
          if (row >= 0) free[row] = middle + needed / 2 + GAP_PX;
        }
        label.setAttribute("visibility", row < 0 ? "hidden" : "visible");
        const y = label.dataset.y - Math.max(row, 0) * group.dataset.rowHeight;
        if (rows) set(label, { x: middle, y });
        else label.setAttribute("transform", `translate(${middle} ${y}) rotate(-90)`);
      }
    }

    function drawTicks() {
      const y = +ticks.dataset.base, below = y - ticks.dataset.rowHeight;
      const step = data.steps.find((seconds) => seconds * perSecond() >= data.tick) || data.steps[data.steps.length - 1];
      const base = data.clock === null ? 0 : (data.clock / 1000) % 86400;
      const seen = [timeAt(view[0]), timeAt(view[1])];
      let last = -Infinity, date = "";
      ticks.replaceChildren();
      for (const [start, end, , , cut] of data.pieces) {
        // Only what is visible: a fine step over days would be many thousand.
        const from = Math.max(start, seen[0]), to = Math.min(end, seen[1]);
        if (cut || from > to) continue;
        const times = [];
        for (let n = Math.ceil((from + base) / step - 1e-9); n * step - base <= to + 1e-9; n++) times.push(n * step - base);
        for (const time of times.length ? times : [from]) {
          const place = x(drawn(time));
          if (place - last < data.tick) continue;
          last = place;
          const [today, clock] = words(time, step < 60);
          add(ticks, "text", { x: place, y }).textContent = clock;
          if (data.days && today !== date) add(ticks, "text", { x: place, y: below }).textContent = today;
          date = today;
        }
      }
    }

    // Date and time of day, or time after the start.
    function words(time, seconds) {
      if (data.clock !== null) {
        const iso = new Date(data.clock + Math.round(time) * 1000).toISOString();
        return [iso.slice(0, 10), iso.slice(11, seconds || iso.slice(17, 19) !== "00" ? 19 : 16)];
      }
      const whole = Math.abs(Math.round(time)), pad = (number) => String(number).padStart(2, "0");
      const minutes = Math.floor(whole / 60);
      const text = lastPiece[1] >= 3600 ? `${Math.floor(minutes / 60)}:${pad(minutes % 60)}` : String(minutes);
      return ["", `${time <= -0.5 ? "\u2212" : ""}${text}:${pad(whole % 60)}`];
    }

    function nearest(time) {
      let low = 0, high = middles.length - 1;
      while (high - low > 1) {
        const half = (low + high) >> 1;
        if (middles[half] <= time) low = half;
        else high = half;
      }
      return Math.abs(middles[low] - time) <= Math.abs(middles[high] - time) ? low : high;
    }

    function point(at) {
      cursor = at;
      const visible = at !== null && at >= view[0] && at <= view[1];
      line.setAttribute("visibility", visible ? "visible" : "hidden");
      if (visible) line.setAttribute("transform", `translate(${x(at)} 0)`);
      if (at !== null) read(timeAt(at));
    }

    function read(time) {
      const within = (spans) => spans.filter(([start, end]) => time >= start && time <= end).map((span) => span[2]);
      const near = (when) => Math.abs(x(drawn(when)) - x(drawn(time))) <= NEAR_PX;
      const at = middles.length ? nearest(time) : -1;
      const reached = at >= 0 && Math.abs(middles[at] - time) <= data.reach;
      const known = (values) => reached && values[at] !== null;
      const [date, clock] = words(time, true);
      const entries = [["", data.days ? `${date} ${clock}` : clock]];
      if (data.recordings.length > 1) entries.push(...within(data.recordings).map((name) => ["", name]));
      if (known(data.score)) entries.push(["score", interval(data.score, data.scoreLow, data.scoreHigh, at)]);
      else entries.push(["no score:", within(data.gaps).join(", ") || "not scored"]);
      if (known(data.level)) entries.push(["level", interval(data.level, data.levelLow, data.levelHigh, at)]);
      for (const [rater, spans] of data.ratings) {
        const name = rater ? `rating, ${rater}` : "rating";
        for (const [start, end, value] of spans) {
          if (end <= start ? near(start) : time >= start && time < end) entries.push([name, String(value)]);
        }
      }
      entries.push(...within(data.states).slice(-1).map((state) => ["state", state]));
      if (known(data.quality)) entries.push(["quality", (data.quality[at] / PER_POINT).toFixed(2)]);
      entries.push(...within(data.alerts).map((text) => ["alert", text]));
      entries.push(...data.events.filter(([when]) => near(when)).map(([, label]) => ["event", label]));
      readout.replaceChildren(...entries.map(([name, value]) => {
        const entry = document.createElement("span"), bold = document.createElement("b");
        bold.textContent = value;
        entry.append(name ? `${name} ` : "", bold);
        return entry;
      }));
    }

    function interval(value, below, above, at) {
      const text = (number) => (number / PER_POINT).toFixed(2).replace("-", "\u2212");
      if (below[at] === null || above[at] === null) return text(value[at]);
      return `${text(value[at])} (${text(value[at] - below[at])} to ${text(value[at] + above[at])})`;
    }

    function zoom(factor, about) {
      const length = view[1] - view[0], longer = clamp(length * factor, least, data.length);
      const inView = cursor !== null && cursor >= view[0] && cursor <= view[1];
      about ??= inView ? cursor : (view[0] + view[1]) / 2;
      show(about - (about - view[0]) * longer / length, longer);
    }
    const pan = (share) => show(view[0] + share * (view[1] - view[0]), view[1] - view[0]);
    const reset = () => show(0, data.length);
    function step(segments) {
      if (!middles.length) return;
      const from = cursor === null ? 0 : nearest(timeAt(cursor)) + segments, length = view[1] - view[0];
      point(drawn(middles[clamp(from, 0, middles.length - 1)]));
      if (cursor < view[0] || cursor > view[1]) show(cursor - length / 2, length);
    }
    const actions = { in: () => zoom(0.5), out: () => zoom(2), left: () => pan(-0.25), right: () => pan(0.25), all: reset };
    const keys = {
      "+": actions.in, "=": actions.in, "-": actions.out, 0: reset, PageUp: actions.left, PageDown: actions.right,
      ArrowLeft: (event) => step(event.shiftKey ? -10 : -1), ArrowRight: (event) => step(event.shiftKey ? 10 : 1),
      Home: () => step(-middles.length), End: () => step(middles.length),
    };

    drawing.addEventListener("keydown", (event) => {
      if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key](event);
    });
    // The wheel scrolls the page until the reader has chosen the chart by a click or the tabulator.
    svg.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== drawing) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(Math.sign(event.deltaX) * 0.1);
      else zoom(event.deltaY < 0 ? 0.8 : 1.25, placeOf(event));
    }, { passive: false });
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.pointerType === "touch") return;
      held = { at: placeOf(event), px: pxOf(event), panning: event.shiftKey, view };
      svg.setPointerCapture(event.pointerId);
    });
    const dragged = (event) => held !== null && Math.abs(pxOf(event) - held.px) > DRAG_PX;
    svg.addEventListener("pointermove", (event) => {
      if (held && held.panning) show(held.view[0] + (held.px - pxOf(event)) / perSecond(), held.view[1] - held.view[0]);
      const at = placeOf(event);
      if (dragged(event) && !held.panning) {
        set(range, { x: x(Math.min(held.at, at)), width: Math.abs(x(at) - x(held.at)), visibility: "visible" });
      }
      point(at);
    });
    svg.addEventListener("pointerup", (event) => {
      const at = placeOf(event);
      range.setAttribute("visibility", "hidden");
      point(at);
      drawing.focus({ preventScroll: true });
      if (dragged(event) && !held.panning) show(Math.min(held.at, at), Math.abs(at - held.at));
      held = null;
    });
    svg.addEventListener("pointercancel", () => {
      held = null;
      range.setAttribute("visibility", "hidden");
    });
    svg.addEventListener("dblclick", (event) => {
      event.preventDefault();
      reset();
    });
    controls.addEventListener("click", (event) => actions[event.target.dataset.do]?.());
    let before = null;
    addEventListener("beforeprint", () => {
      before = [view, cursor];
      cursor = null;
      reset();
    });
    addEventListener("afterprint", () => {
      if (before === null) return;
      cursor = before[1];
      show(before[0][0], before[0][1] - before[0][0]);
      before = null;
    });
    controls.hidden = readout.hidden = false;
    show(0, data.length);
  }

  function clamp(value, low, high) {
    return Math.min(Math.max(value, low), high);
  }

  function set(element, attributes) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  }

  function add(parent, tag, attributes) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    set(element, attributes);
    return parent.appendChild(element);
  }
})();
