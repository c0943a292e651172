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
