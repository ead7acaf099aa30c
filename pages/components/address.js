// Streamlit gives the browser's history an entry whenever the page writes its state into the address. Back would lead
// through every k and every drop without showing one of them, since the page at once writes its present state over the
// old address. So an entry is for another page only, and a new state of the same page takes the place of the old one.
// (The first writing of a session that began without a state comes before this script: one entry too many.)
if (!window.multirateAddress) {
  window.multirateAddress = true;
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) => {
    const samePage = new URL(url ?? "", location.href).pathname === location.pathname;
    return samePage ? history.replaceState(state, unused, url) : push(state, unused, url);
  };
}
