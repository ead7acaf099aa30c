// The theme's colours and the kind of screen, put into a layout of plotly.

/** Return the layout in the colours that hold at `place`, fit for its screen. Streamlit gives every place --st-… */
export function themed(layout, place) {
  const style = getComputedStyle(place);
  const read = (name, other) => style.getPropertyValue(name).trim() || other;
  const text = read("--st-text-color", "#31333f");
  const page = read("--st-background-color", "#ffffff");
  const grid = { gridcolor: mixed(text, 0.12), linecolor: mixed(text, 0.3), zerolinecolor: mixed(text, 0.3) };
  const themed = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  themed.font = { color: text, family: read("--st-font", "sans-serif"), size: 12 };
  themed.hoverlabel = { bgcolor: page, bordercolor: grid.linecolor, font: { color: text } };
  // A finger that moves over a plot wants to scroll the page.
  themed.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))) {
    themed[name] = { ...layout[name], ...grid };
  }
  return themed;
}

/** Return a colour (#rgb, #rrggbb, rgb(…)) with this opacity. */
function mixed(colour, opacity) {
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = colour;
  const [red, green, blue] = probe.fillStyle.match(/[\da-f]{2}/gi).map((part) => parseInt(part, 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}
