// Entry: the figures side by side, and the curve. Every text goes in as text, never as markup.

/** Streamlit calls this at mount and whenever data or theme changed. */
export default function mount({ parentElement, data: [data] }) {
  const figures = document.createElement("div");
  figures.className = "figures";
  figures.append(...data.cells.map(drawCell));
  parentElement.querySelector(".meter").replaceChildren(figures, ...(data.curve ? [drawCurve(data.curve)] : []));
}

function drawCell({ value, spread, about }) {
  const cell = document.createElement("div");
  cell.append(element("b", value), element("small", spread), element("span", about));
  return cell;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}
