// The latent explorer: the book's decoders in the browser.
//
// press/site/explorer.py writes the weights as scripts, which explorer.load fetches one by one and
// which call explorer.receive. Plain scripts, so that the page works from a disk as from a server.
"use strict";

window.explorer = (() => {
  const SIDE = 28; // pixels of a garment
  const folder = new URL(".", document.currentScript.src);

  // --- decoders ---------------------------------------------------------------------------------

  const received = {};
  const loading = {};

  /** The model of that run, as a promise: fetched once, when it is first asked for. */
  function load(run) {
    loading[run] ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`${run}.js`, folder).href;
      script.onload = () => resolve(received[run]);
      script.onerror = () =>
        reject(new Error(`explorer/${run}.js could not be loaded; try to reload the page`));
      document.head.append(script);
    });
    return loading[run];
  }

  /** Take over what a script of press/site/explorer.py holds. */
  function receive({ run, latent, classes, tensors }) {
    const unpacked = Object.entries(tensors).map(([name, { shape, bytes }]) => [
      name,
      { shape, values: unpack(shape, bytes) },
    ]);
    received[run] = { run, latent, classes, tensors: Object.fromEntries(unpacked) };
  }

  /** The numbers in a base64 text, two bytes each, or three: floats that lack their lowest byte. */
  function unpack(shape, text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const numbers = { length: shape.reduce((a, b) => a * b) };
    if (bytes.length === 2 * numbers.length) {
      return Float32Array.from(numbers, (_, i) => half(bytes[2 * i] | (bytes[2 * i + 1] << 8)));
    }
    const bits = Uint32Array.from(
      numbers,
      (_, i) => (bytes[3 * i] << 8) | (bytes[3 * i + 1] << 16) | (bytes[3 * i + 2] << 24),
    );
    return new Float32Array(bits.buffer);
  }

  /** The number that 16 bits stand for: sign, five bits of exponent, ten of fraction (IEEE 754). */
  function half(bits) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = (bits & 0x3ff) / 1024;
    if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction) : sign * 2 ** -14 * fraction;
  }

  /** The 784 pixels in [0, 1] that a model makes of a latent, for a label where it knows classes. */
  function decode(model, z, label) {
    const { tensors, latent, classes } = model;
    if (z.length !== latent) {
      throw new RangeError(`${model.run} has ${latent} latent dimensions, not ${z.length}`);
    }
    const conditional = tensors["0.weight"].shape[1] > latent;
    if (conditional && !(label in classes)) {
      throw new RangeError(`${model.run} needs a label from 0 to ${classes.length - 1}`);
    }
    const input = conditional ? [...z, ...classes.map((_, i) => Number(i === label))] : z;
    // p = sigmoid(W₂ relu(W₁ z + b₁) + b₂)
    const hidden = linear(tensors["0.weight"], tensors["0.bias"], input).map((x) => Math.max(0, x));
    const logits = linear(tensors["2.weight"], tensors["2.bias"], hidden);
    return logits.map((x) => 1 / (1 + Math.exp(-x)));
  }

  /** W x + b, row by row. */
  function linear({ shape: [rows, columns], values }, bias, input) {
    const output = new Float32Array(rows);
    for (let i = 0; i < rows; i++) {
      let sum = bias.values[i];
      for (let j = 0; j < columns; j++) sum += values[i * columns + j] * input[j];
      output[i] = sum;
    }
    return output;
  }

  // --- small things -----------------------------------------------------------------------------

  const find = (part, selector) => part.querySelector(selector);
  const range = (count) => Array.from({ length: count }, (_, i) => i);
  const lerp = (a, b, t) => a.map((x, i) => (1 - t) * x + t * b[i]);
  const number = (x) => x.toFixed(2).replace("-", "−");
  const vector = (z) => `z = (${Array.from(z, number).join(", ")})`;

  /** Row i of a tensor, as an array. */
  function row({ shape, values }, i) {
    const size = values.length / shape[0];
    return Array.from(values.subarray(i * size, (i + 1) * size));
  }

  /** Grey pixels into the picture at a column and row of a canvas. */
  function show(canvas, pixels, column = 0, line = 0) {
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(SIDE, SIDE);
    pixels.forEach((p, i) => {
      image.data.fill(Math.round(255 * p), 4 * i, 4 * i + 3);
      image.data[4 * i + 3] = 255;
    });
    pen.putImageData(image, SIDE * column, SIDE * line);
  }

  /** A function that draws before the next frame, once, however often it is called till then. */
  function paced(draw) {
    let waiting = false;
    return () => {
      if (waiting) return;
      waiting = true;
      requestAnimationFrame(() => {
        waiting = false;
        draw();
      });
    };
  }

  /** A function that shows a text at once, and has screen readers say it when things are at rest. */
  function teller(part) {
    let timer;
    return (text) => {
      find(part, ".readout").textContent = text;
      clearTimeout(timer);
      timer = setTimeout(() => (find(part, ".said").textContent = text), 700);
    };
  }

  // --- pads: squares of the plane ---------------------------------------------------------------

  // seaborn's "colorblind", as in the book's figures
  const COLORS = [
    "#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc",
    "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9",
  ];
  const pads = [];
  new MutationObserver(() => pads.forEach((repaint) => repaint())).observe(
    document.documentElement,
    { attributeFilter: ["data-theme"] },
  );

  /**
   * A canvas as the square from −reach to reach, in both directions.
   *
   * paint draws what stays, mark what moves: both get a pen, the place of a point in CSS pixels,
   * the canvas's size, and its colours. Returns the point under a pointer, and how to redraw.
   */
  function pad(canvas, reach, paint, mark) {
    const still = document.createElement("canvas");
    let size, colors;
    const at = ([x, y]) => [(size * (1 + x / reach)) / 2, (size * (1 - y / reach)) / 2];

    function repaint() {
      if (!canvas.clientWidth) return; // not laid out, as on paper
      const style = getComputedStyle(document.documentElement);
      colors = {
        text: style.getPropertyValue("--pst-color-text-base"),
        muted: style.getPropertyValue("--pst-color-text-muted"),
        ground: style.getPropertyValue("--pst-color-background"),
      };
      size = canvas.clientWidth;
      const scale = window.devicePixelRatio;
      canvas.width = canvas.height = still.width = still.height = Math.round(size * scale);
      for (const one of [canvas, still]) one.getContext("2d").scale(scale, scale);
      const pen = still.getContext("2d");
      pen.fillStyle = colors.ground;
      pen.fillRect(0, 0, size, size);
      paint(pen, at, size, colors);
      redraw();
    }

    function redraw() {
      if (!size) return;
      const pen = canvas.getContext("2d");
      pen.drawImage(still, 0, 0, size, size);
      mark(pen, at, size, colors);
    }

    function under(event) {
      const box = canvas.getBoundingClientRect();
      const inside = (share) => Math.min(1, Math.max(-1, share)) * reach;
      return [
        inside((2 * (event.clientX - box.left)) / box.width - 1),
        inside(1 - (2 * (event.clientY - box.top)) / box.height),
      ];
    }

    pads.push(repaint);
    new ResizeObserver(repaint).observe(canvas); // which calls it for the first time, too
    return { under, redraw };
  }

  /** A pad with a cross that pointer, finger and arrow keys move; moved() follows each move. */
  function crossed(canvas, reach, paint, z, moved) {
    const one = pad(canvas, reach, paint, (pen, at, size, colors) => cross(pen, at(z), colors));
    const go = (point) => {
      point.forEach((value, i) => (z[i] = Math.min(reach, Math.max(-reach, value))));
      moved();
    };
    for (const type of ["pointerdown", "pointermove"]) {
      canvas.addEventListener(type, (event) => go(one.under(event)));
    }
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    canvas.addEventListener("keydown", (event) => {
      const way = arrows[event.key];
      if (!way || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault(); // the page stays where it is
      const step = event.shiftKey ? 0.5 : 0.1;
      go(z.map((value, i) => value + step * way[i]));
    });
    return one.redraw;
  }

  function cross(pen, [x, y], { text, ground }) {
    for (const [color, width] of [[ground, 6], [text, 2]]) {
      pen.strokeStyle = color;
      pen.lineWidth = width;
      pen.beginPath();
      pen.arc(x, y, 8, 0, 2 * Math.PI);
      for (const [across, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x + 8 * across, y + 8 * down);
        pen.lineTo(x + 18 * across, y + 18 * down);
      }
      pen.stroke();
    }
  }

  /** A line from A to B, for the way between two garments. */
  function line(pen, from, to, colors) {
    pen.strokeStyle = colors.text;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...to);
    pen.stroke();
    pen.font = "700 16px sans-serif";
    pen.textAlign = "center";
    for (const [text, [x, y]] of [["A", from], ["B", to]]) {
      pen.beginPath();
      pen.arc(x, y, 5, 0, 2 * Math.PI);
      pen.strokeStyle = colors.text;
      pen.lineWidth = 2;
      pen.stroke();
      write(pen, text, x, y - 9, colors);
    }
  }

  /** A text with an edge in the colour of the ground, legible over dots. */
  function write(pen, text, x, y, { text: color, ground }) {
    pen.lineWidth = 4;
    pen.lineJoin = "round";
    pen.strokeStyle = ground;
    pen.strokeText(text, x, y);
    pen.fillStyle = color;
    pen.fillText(text, x, y);
  }

  /** Whole numbers along the left and the lower edge. */
  function ticks(pen, at, size, colors, reach) {
    pen.font = "12px sans-serif";
    pen.fillStyle = colors.muted;
    for (let i = Math.ceil(0.1 - reach); i < reach; i++) {
      const [x, y] = at([i, i]);
      const text = String(i).replace("-", "−");
      pen.textAlign = "center";
      pen.fillText(text, x, size - 6);
      pen.textAlign = "left";
      pen.fillText(text, 6, y + 4);
    }
  }

  /** How the map is painted: a dot for each test image, and each class's name in its middle. */
  function painted(model, reach) {
    const { codes, labels } = model.tensors;
    return (pen, at, size, colors) => {
      pen.globalAlpha = 0.8;
      pen.strokeStyle = colors.muted; // a thin edge: yellow alone is faint on white
      pen.lineWidth = 0.4;
      labels.values.forEach((label, i) => {
        const [x, y] = at(row(codes, i));
        pen.fillStyle = COLORS[label];
        pen.beginPath();
        pen.arc(x, y, 2.2, 0, 2 * Math.PI);
        pen.fill();
        pen.stroke();
      });
      pen.globalAlpha = 1;
      ticks(pen, at, size, colors, reach);
      pen.font = "600 13px sans-serif";
      pen.textAlign = "center";
      const names = model.classes.map((name, label) => ({ name, place: at(middle(model, label)) }));
      names.sort((a, b) => a.place[1] - b.place[1]);
      names.forEach(({ name, place }, i) => {
        // Names that would overlap move down.
        for (const other of names.slice(0, i)) {
          const near = Math.abs(other.place[0] - place[0]) < 80;
          if (near && place[1] - other.place[1] < 16) place[1] = other.place[1] + 16;
        }
        write(pen, name, ...place, colors);
      });
    };
  }

  /** The median of a class's codes, in each dimension. */
  function middle({ tensors: { codes, labels } }, label) {
    const mine = range(labels.values.length).filter((i) => labels.values[i] === label);
    return [0, 1].map((dimension) => {
      const values = mine.map((i) => row(codes, i)[dimension]).sort((a, b) => a - b);
      return values[Math.floor(values.length / 2)];
    });
  }

  /** Which test image's code lies closest to z. */
  function nearest({ tensors: { codes } }, [x, y]) {
    const distances = range(codes.shape[0]).map((i) => {
      const [u, v] = row(codes, i);
      return Math.hypot(u - x, v - y);
    });
    return distances.indexOf(Math.min(...distances));
  }

  const reachOf = ({ tensors: { codes } }) => 1.05 * Math.max(...codes.values.map(Math.abs));

  // --- the parts of the page --------------------------------------------------------------------

  const parts = {
    async map(part, tell) {
      const model = await load("dense2");
      const reach = reachOf(model);
      const z = row(model.tensors.codes, 0);
      const draw = paced(() => {
        show(find(part, ".garment"), decode(model, z));
        const label = model.tensors.labels.values[nearest(model, z)];
        tell(`${vector(z)}, nearest test image: ${model.classes[label]}`);
        redraw();
      });
      const redraw = crossed(find(part, ".pad"), reach, painted(model, reach), z, draw);
      draw();
    },

    async between(part, tell) {
      const model = await load("dense2");
      const reach = reachOf(model);
      const { codes, labels } = model.tensors;
      const canvas = find(part, ".pad");
      const [a, b, t] = ["a", "b", "t"].map((id) => find(part, `#explorer-${id}`));
      const chosen = { a: labels.values.indexOf(9), b: labels.values.indexOf(1) };
      const ends = () => [row(codes, chosen.a), row(codes, chosen.b)];
      const name = (i) => model.classes[labels.values[i]];
      const draw = paced(() => {
        const [from, to] = ends();
        show(find(part, ".garment"), decode(model, lerp(from, to, Number(t.value))));
        for (const i of range(9)) show(find(part, ".strip"), decode(model, lerp(from, to, i / 8)), i);
        tell(`from ${name(chosen.a)} to ${name(chosen.b)}, t = ${number(Number(t.value))}`);
        redraw();
      });
      const mark = (pen, at, size, colors) => line(pen, ...ends().map(at), colors);
      const { under, redraw } = pad(canvas, reach, painted(model, reach), mark);
      const pick = (end, select, event) => {
        chosen[end] = nearest(model, under(event));
        select.options[0].text = `${name(chosen[end])} on the map`;
        select.selectedIndex = 0;
        draw();
      };
      canvas.addEventListener("pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pick("a", a, event);
        pick("b", b, event);
      });
      canvas.addEventListener("pointermove", (event) => {
        if (canvas.hasPointerCapture(event.pointerId)) pick("b", b, event);
      });
      for (const [end, select] of [["a", a], ["b", b]]) {
        select.append(new Option("on the map", ""));
        model.classes.forEach((one, label) => select.append(new Option(one, label)));
        select.value = labels.values[chosen[end]];
        select.addEventListener("change", () => {
          if (select.value) chosen[end] = labels.values.indexOf(Number(select.value));
          draw();
        });
      }
      t.addEventListener("input", draw);
      draw();
    },

    async ten(part, tell) {
      const [beta, start] = ["beta", "start"].map((id) => find(part, `#explorer-${id}`));
      const [decoded, source] = part.querySelectorAll(".garment");
      let model, sliders;

      const draw = paced(() => {
        const { mean, deviation } = model.tensors;
        const z = Array.from(mean.values);
        for (const { dimension, input, value } of sliders) {
          // z = mean + s · deviation, in each dimension
          const s = Number(input.value);
          z[dimension] += s * deviation.values[dimension];
          value.textContent = `${number(s)} σ`;
          input.setAttribute("aria-valuetext", `${number(s)} standard deviations`);
        }
        show(decoded, decode(model, z));
      });

      /** All sliders to the code of the chosen test image, or to the mean of all codes. */
      function reset() {
        const { mean, deviation, codes, images } = model.tensors;
        const chosen = start.value !== "";
        const label = Number(start.value);
        const code = chosen ? row(codes, label) : mean.values;
        for (const { dimension, input } of sliders) {
          input.value = (code[dimension] - mean.values[dimension]) / deviation.values[dimension];
        }
        find(part, ".source").hidden = !chosen;
        if (chosen) show(source, row(images, label).map((byte) => byte / 255));
        tell(`${start.selectedOptions[0].text} at β = ${beta.selectedOptions[0].text}`);
        draw();
      }

      /** Another model has other dimensions, and so other sliders. */
      async function change() {
        const run = beta.value;
        const one = await load(run);
        if (run !== beta.value) return; // changed again meanwhile
        model = one;
        const kl = model.tensors.kl.values;
        const order = range(model.latent).sort((i, j) => kl[j] - kl[i]);
        sliders = order.map((dimension) => slider(dimension, kl[dimension], draw));
        find(part, ".sliders").replaceChildren(...sliders.map(({ box }) => box));
        reset();
      }

      const { classes } = await load(beta.value);
      start.append(...classes.map((name, label) => new Option(name, label)), new Option("mean", ""));
      start.addEventListener("change", reset);
      find(part, "button").addEventListener("click", reset);
      beta.addEventListener("change", () => change().catch(failed(tell)));
      await change();
    },

    async class(part, tell) {
      const model = await load("conditional2");
      const reach = 3; // standard deviations of the prior
      const z = [0, 0];
      const tiles = model.classes.map((name, label) => tile(name, label));
      const draw = paced(() => {
        const chosen = tiles.findIndex(({ input }) => input.checked);
        const garments = tiles.map((_, label) => decode(model, z, label));
        garments.forEach((pixels, label) => show(tiles[label].picture, pixels));
        show(find(part, ".garment"), garments[chosen]);
        tell(`${model.classes[chosen]}, ${vector(z)}`);
        redraw();
      });
      find(part, ".classes").append(...tiles.map(({ box }) => box));
      find(part, ".classes").addEventListener("change", draw);
      const redraw = crossed(find(part, ".pad"), reach, prior(reach), z, draw);
      draw();
    },

    async frozen(part, tell) {
      const model = await load("dense2");
      const sigma = find(part, "#explorer-sigma");
      let seed = 1;
      let noise = gaussian(seed, 12, model.latent);
      const draw = paced(() => {
        // z = σ · ε
        noise.forEach((epsilon, i) => {
          const z = epsilon.map((x) => Number(sigma.value) * x);
          show(find(part, ".samples"), decode(model, z), i % 6, Math.floor(i / 6));
        });
        tell(`σ = ${number(Number(sigma.value))}, draw ${seed}`);
      });
      sigma.addEventListener("input", draw);
      find(part, "button").addEventListener("click", () => {
        seed += 1;
        noise = gaussian(seed, 12, model.latent);
        draw();
      });
      draw();
    },
  };

  /** A slider of one dimension, with its name and KL; changed() follows each move. */
  function slider(dimension, kl, changed) {
    const box = document.createElement("div");
    box.className = "slider";
    const id = `explorer-z${dimension}`;
    box.innerHTML = `<label for="${id}">z${dimension}, ${number(kl)} nats</label><span></span>
      <input id="${id}" type="range" min="-3" max="3" step="0.05">`;
    const input = find(box, "input");
    input.addEventListener("input", changed);
    return { box, dimension, input, value: find(box, "span") };
  }

  /** A class to choose, under a picture of its own. */
  function tile(name, label) {
    const box = document.createElement("label");
    box.innerHTML = `<canvas width="${SIDE}" height="${SIDE}" aria-hidden="true"></canvas>
      <input type="radio" name="explorer-label" value="${label}">`;
    box.append(name);
    const input = find(box, "input");
    input.checked = label === 0;
    return { box, input, picture: find(box, "canvas") };
  }

  /** How the prior is painted: circles one and two standard deviations from its mean. */
  function prior(reach) {
    return (pen, at, size, colors) => {
      pen.strokeStyle = colors.muted;
      for (const radius of [1, 2]) {
        pen.beginPath();
        pen.arc(...at([0, 0]), (radius * size) / (2 * reach), 0, 2 * Math.PI);
        pen.stroke();
      }
      ticks(pen, at, size, colors, reach);
    };
  }

  /** count vectors of N(0, I), the same for the same seed. */
  function gaussian(seed, count, latent) {
    let state = seed;
    const uniform = () => {
      // mulberry32 (Ettinger 2017)
      state = (state + 0x6d2b79f5) | 0;
      let x = Math.imul(state ^ (state >>> 15), 1 | state);
      x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
      return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
    };
    // Box and Muller: √(−2 log u) cos 2πv, with u in (0, 1]
    const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return range(count).map(() => range(latent).map(normal));
  }

  // --- start ------------------------------------------------------------------------------------

  const failed = (tell) => (error) => tell(error.message);

  /** Bring a part of the page to life, once it comes into view. */
  function begin(part) {
    const tell = teller(part);
    tell("Loading the decoder …");
    parts[part.id.replace("explorer-", "")](part, tell).catch(failed(tell));
  }

  document.documentElement.classList.add("explorer-runs");
  const watch = new IntersectionObserver(
    (entries) => {
      for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
        watch.unobserve(target);
        begin(target);
      }
    },
    { rootMargin: "200px" },
  );
  document.querySelectorAll(".explorer").forEach((part) => watch.observe(part));

  return { load, receive, decode };
})();
