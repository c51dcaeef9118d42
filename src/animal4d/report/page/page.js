// Plays assets, pictures and the plots' cursors of a page together.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const PANES = ["input", "mesh", "textured", "turntable"];
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const times = DATA.times;
const duration = times[times.length - 1] - times[0];

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) bytes[index] = text.charCodeAt(index);
  return bytes;
}

/** The pictures of a run, decoded when they are first asked for. */
class Pictures {
  constructor(run) {
    this.run = run;
    this.images = new Map();
  }

  at(frame, then) {
    const place = this.run.stripOfFrame[frame];
    let image = this.images.get(place);
    if (!image) {
      image = new Image();
      image.src = URL.createObjectURL(new Blob([bytesOf(this.run.strips[place])], { type: "image/webp" }));
      this.images.set(place, image);
    }
    if (image.complete && image.naturalWidth) then(image);
    else image.addEventListener("load", () => then(image), { once: true });
  }

  /** One pane on a context. */
  draw(context, image, pane, left = 0, width = 1) {
    const side = this.run.side;
    const { width: across, height: down } = context.canvas;
    context.drawImage(image, side * (PANES.indexOf(pane) + left), 0, side * width, side, across * left, 0, across * width, down);
  }
}

class Run {
  constructor(data, index) {
    this.data = data;
    this.pictures = new Pictures(data);
    this.over = "mesh";
    this.divide = 0.5;
    this.filmed = document.createElement("canvas");
    this.filmed.width = this.filmed.height = data.side;
    this.viewer = null;
    this.listenToComparison(index);
    this.startViewer(index);
  }

  startViewer(index) {
    const stage = $(`.stage[data-run="${index}"]`);
    if (!stage) return;
    try {
      this.viewer = new AssetViewer($("canvas", stage), bytesOf(this.data.asset), this.data.times, this.data.cameras);
    } catch (error) {
      const failure = $(".failure", stage);
      failure.textContent = `The asset cannot be shown here: ${error.message}.`;
      failure.hidden = false;
      $(".tools", stage).hidden = true;
      return;
    }
    this.viewer.options.turning = !calm;
    $$("[data-tool]", stage).forEach((button) => {
      const tool = button.dataset.tool;
      const show = () => button.setAttribute("aria-pressed", String(this.viewer.options[tool]));
      button.addEventListener("click", () => {
        this.viewer.options[tool] = !this.viewer.options[tool];
        show();
        this.show(this.time);
      });
      $("canvas", stage).addEventListener("touched", show);
      show();
    });
    $("canvas", stage).addEventListener("keydown", (event) => {
      const turns = { a: [-0.12, 0], d: [0.12, 0], w: [0, 0.08], s: [0, -0.08] }[event.key];
      if (turns) this.viewer.turn(...turns);
      else if (event.key === "+") this.viewer.scale(0.9);
      else if (event.key === "-") this.viewer.scale(1.1);
    });
    new ResizeObserver(() => this.viewer.draw()).observe(stage);
  }

  listenToComparison(index) {
    this.compare = $(`.compare[data-run="${index}"]`);
    if (!this.compare) return;
    this.canvas = $("canvas", this.compare);
    this.canvas.width = this.canvas.height = 2 * this.data.side;
    $(".divide", this.compare).addEventListener("input", (event) => {
      this.divide = Number(event.target.value) / 100;
      this.drawComparison();
    });
    $$("[data-over]", this.compare).forEach((button) =>
      button.addEventListener("click", () => {
        this.over = button.dataset.over;
        $$("[data-over]", this.compare).forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        $(".corner.right", this.compare).textContent = this.over;
        this.drawComparison();
      }));
  }

  show(time) {
    const frame = nearestIndex(this.data.times, time);
    this.time = time;
    if (frame !== this.frame) {
      this.frame = frame;
      this.pictures.at(frame, (image) => {
        if (this.frame !== frame) return; // overtaken
        this.image = image;
        this.pictures.draw(this.filmed.getContext("2d"), image, "input");
        this.drawComparison();
        if (this.viewer && this.viewer.options.throughCamera) this.viewer.show(this.time, this.filmed);
      });
    }
    if (this.viewer) this.viewer.show(time, this.viewer.options.throughCamera ? this.filmed : null);
  }

  drawComparison() {
    if (!this.image || !this.canvas) return;
    const context = this.canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    const whole = this.over === "turntable";
    const divide = whole ? 0 : this.divide;
    this.pictures.draw(context, this.image, this.over, divide, 1 - divide);
    $(".corner.left", this.compare).hidden = whole || divide < 0.04;
    $(".corner.right", this.compare).hidden = divide > 0.96;
    if (!divide) return;
    this.pictures.draw(context, this.image, "input", 0, divide);
    const x = Math.round(divide * this.canvas.width);
    context.fillStyle = "rgb(255 255 255 / 0.9)";
    context.fillRect(x - 1.5, 0, 3, this.canvas.height);
    context.beginPath();
    context.arc(x, this.canvas.height / 2, 11, 0, 7);
    context.fill();
  }
}

const runs = DATA.runs.map((data, index) => new Run(data, index));
const state = { time: times[0], frame: -1, playing: false, speed: 1, before: 0 };
const scrub = $("#scrub");

function show(time) {
  state.time = Math.min(Math.max(time, times[0]), times[times.length - 1]);
  const frame = nearestIndex(times, state.time);
  runs.forEach((run) => run.show(run.data.times[0] + state.time - times[0]));
  if (frame === state.frame) return;
  state.frame = frame;
  scrub.value = String(frame);
  const part = DATA.parts[frame];
  const words = `frame ${DATA.numbers[frame]}, ${(times[frame] - times[0]).toFixed(2)} s`;
  $("#place").textContent = part && innerWidth > 820 ? `${words}, ${part}` : words;
  scrub.setAttribute("aria-valuetext", part ? `${words}, ${part}` : words);
  $$(".cursor").forEach((line) => {
    const x = (line.places ||= line.dataset.x.split(" "))[frame];
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
  });
}

function play(playing) {
  state.playing = playing;
  state.before = performance.now();
  $("#play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

function tick(now) {
  const elapsed = Math.min((now - state.before) / 1000, 0.25);
  state.before = now;
  runs.forEach(({ viewer }) => {
    if (viewer && viewer.options.turning && !viewer.options.throughCamera) viewer.yaw += 0.35 * elapsed;
  });
  const turning = runs.some(({ viewer }) => viewer && viewer.options.turning && !viewer.options.throughCamera);
  if (state.playing) {
    let next = state.time + elapsed * state.speed;
    if (next > times[times.length - 1]) next = times[0];
    show(next);
  } else if (turning) {
    runs.forEach(({ viewer }) => viewer && viewer.draw());
  }
  requestAnimationFrame(tick);
}

function step(frames) {
  play(false);
  show(times[(state.frame + frames + times.length) % times.length]);
}

function drawParts() {
  const canvas = $("#parts");
  const style = getComputedStyle(document.documentElement);
  canvas.width = Math.max(canvas.clientWidth * 2, 2);
  canvas.height = 8;
  const context = canvas.getContext("2d");
  DATA.parts.forEach((part, index) => {
    if (part !== "test" && part !== "validation") return;
    context.fillStyle = style.getPropertyValue(`--${part}`);
    const size = canvas.width / Math.max(DATA.parts.length - 1, 1);
    context.fillRect((index - 0.5) * size, 0, size + 1, canvas.height);
  });
}

function setTheme(dark) {
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  runs.forEach(({ viewer }) => {
    if (!viewer) return;
    viewer.dark = dark;
    viewer.draw();
  });
  drawParts();
}

function listen() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  setTheme(system.matches);
  system.addEventListener("change", (event) => setTheme(event.matches));
  $("#theme").addEventListener("click", () => setTheme(document.documentElement.dataset.theme !== "dark"));
  scrub.max = String(times.length - 1);
  scrub.addEventListener("input", () => {
    play(false);
    show(times[Number(scrub.value)]);
  });
  $("#play").addEventListener("click", () => play(!state.playing));
  $("#speed").addEventListener("change", (event) => (state.speed = Number(event.target.value)));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, button, summary") || event.altKey || event.ctrlKey || event.metaKey) return;
    const act = { " ": () => play(!state.playing), ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  $$(".plot[data-frames] svg").forEach((svg) => {
    const seek = (event) => {
      const places = $(".cursor", svg).dataset.x.split(" ").map(Number);
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      play(false);
      show(times[nearestIndex(places, x)]);
    };
    svg.addEventListener("pointerdown", seek);
    svg.addEventListener("pointermove", (event) => event.buttons && seek(event));
  });
  addEventListener("resize", drawParts);
}

function fillStrip() {
  $$(".strip button").forEach((button) => {
    const frame = Number(button.dataset.frame);
    const run = runs[0];
    const canvas = $("canvas", button);
    canvas.width = canvas.height = run.data.side;
    run.pictures.at(frame, (image) => run.pictures.draw(canvas.getContext("2d"), image, "turntable"));
    button.addEventListener("click", () => {
      play(false);
      show(times[frame]);
    });
  });
}

listen();
fillStrip();
show(times[0]);
if (times.length < 2) $(".transport").hidden = true;
else play(!calm);
requestAnimationFrame((now) => {
  state.before = now;
  tick(now);
});
