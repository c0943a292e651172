// Tables that sort and figures that grow: the page is whole without it.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[0].cells, body = table.tBodies[0];
  const key = (row, i) => {
    const text = row.cells[i].textContent.trim(), number = parseFloat(text.replace("−", "-"));
    return isNaN(number) ? text : number;
  };
  [...heads].forEach((head, i) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const rows = [...body.rows].map(row => [key(row, i), row]);
      rows.sort(([a], [b]) => sign * (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1));
      body.append(...rows.map(([, row]) => row));
    };
  });
}
const dialog = document.querySelector("dialog");
document.body.classList.add("zooms");
for (const image of document.querySelectorAll("figure img")) {
  image.onclick = () => {
    dialog.replaceChildren(image.cloneNode());
    dialog.showModal();
  };
}
dialog.onclick = () => dialog.close();
// Cascades to be turned: atoms as discs, sorted by depth; [x, y, z at the start, x, y, z at the end, species, strong].
for (const canvas of document.querySelectorAll("canvas[data-scene]")) {
  const scene = JSON.parse(canvas.dataset.scene), pen = canvas.getContext("2d");
  const slider = canvas.parentElement.querySelector("input"), pointers = new Map();
  let turn = [[1, 0, 0], [0, 1, 0], [0, 0, 1]], zoom = 1;
  const times = (a, b) => a.map(row => b[0].map((_, j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));
  const rotate = (right, up) => {
    const [c, s, d, t] = [Math.cos(right), Math.sin(right), Math.cos(up), Math.sin(up)];
    turn = times([[1, 0, 0], [0, d, -t], [0, t, d]], times([[c, 0, s], [0, 1, 0], [-s, 0, c]], turn));
  };
  const draw = () => {
    const size = canvas.clientWidth, dense = window.devicePixelRatio || 1;
    canvas.width = canvas.height = size * dense;
    pen.scale(dense, dense);
    const scale = zoom * size / (2 * scene.radius), share = slider.value / 100;
    const place = p => {
      const q = p.map((x, i) => x - scene.middle[i]);
      return turn.map((row, i) => row[0] * q[0] + row[1] * q[1] + row[2] * q[2]);
    };
    const seen = p => { const [x, y, z] = place(p); return [size / 2 + scale * x, size / 2 - scale * y, z]; };
    const line = (points, colour, width) => {
      pen.beginPath();
      points.forEach((p, i) => pen[i ? "lineTo" : "moveTo"](p[0], p[1]));
      pen.strokeStyle = colour; pen.lineWidth = width; pen.stroke();
    };
    const things = scene.atoms.map(a => {
      const now = [0, 1, 2].map(i => a[i] + share * (a[i + 3] - a[i]));
      return { at: seen(now), from: seen(a.slice(0, 3)), kind: scene.species[a[6]], strong: a[7] };
    });
    scene.empty.forEach(e => things.push({ at: seen(e.slice(0, 3)), kind: scene.species[e[3]], empty: true }));
    things.sort((a, b) => a.at[2] - b.at[2]);
    pen.clearRect(0, 0, size, size);
    for (const { at: [x, y], from, kind: [, colour, radius], strong, empty } of things) {
      const r = scale * radius * 0.55;
      if (empty) { pen.strokeStyle = colour; pen.lineWidth = 2; pen.strokeRect(x - r, y - r, 2 * r, 2 * r); continue; }
      if (strong) line([from, [x, y]], "#d55e00", 1.5);
      pen.globalAlpha = strong ? 1 : 0.2;
      pen.beginPath(); pen.arc(x, y, r, 0, 7);
      pen.fillStyle = strong > 1 ? "#000" : colour; pen.fill();
      pen.strokeStyle = "#262626"; pen.lineWidth = 0.6; pen.stroke();
      pen.globalAlpha = 1;
    }
    line(scene.track.map(seen).slice(0, Math.max(2, Math.ceil(share * scene.track.length))), "#000", 1.5);
  };
  const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
  };
  canvas.onpointermove = event => {
    const before = pointers.get(event.pointerId), wide = pointers.size === 2 && spread();
    if (!before) return;
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) rotate((event.clientX - before[0]) / 120, (event.clientY - before[1]) / 120);
    if (wide) zoom *= spread() / wide;
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = event => pointers.delete(event.pointerId);
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom *= Math.exp(-event.deltaY / 400);
    draw();
  }, { passive: false });
  canvas.onkeydown = event => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (step) { event.preventDefault(); rotate(...step); }
    if (event.key === "+") zoom *= 1.15;
    if (event.key === "-") zoom /= 1.15;
    draw();
  };
  slider.oninput = draw;
  new ResizeObserver(draw).observe(canvas.parentElement);
  rotate(0.5, 0.4);
  draw();
}
