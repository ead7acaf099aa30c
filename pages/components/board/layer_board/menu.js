// The little list of groups that a row's move button opens when there are more than two.

/** Open the list beside `button`; `choose` gets the group that was picked. */
export function openMenu(board, button, from, choose) {
  const menu = board.root.querySelector(".menu");
  const items = board.data.groups.map(({ name }, group) => menuItem(name, () => {
    menu.hidePopover();
    choose(group);
  }, group === from));
  menu.replaceChildren(...items);
  menu.onkeydown = (event) => stepInMenu(menu, event);
  menu.showPopover();
  placeBeside(menu, button.getBoundingClientRect());
  menu.querySelector("button:not(:disabled)").focus();
}

function menuItem(name, choose, disabled) {
  const item = document.createElement("button");
  Object.assign(item, { type: "button", textContent: name, disabled, tabIndex: -1 });
  item.setAttribute("role", "menuitem");
  item.addEventListener("click", choose);
  return item;
}

function stepInMenu(menu, event) {
  const items = [...menu.querySelectorAll("button:not(:disabled)")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const index = items.indexOf(menu.getRootNode().activeElement);
  items[(index + step + items.length) % items.length].focus();
  event.preventDefault();
  event.stopPropagation();
}

function placeBeside(menu, box) {
  const left = Math.max(4, Math.min(box.right - menu.offsetWidth, window.innerWidth - menu.offsetWidth - 4));
  const below = box.bottom + menu.offsetHeight < window.innerHeight;
  menu.style.left = `${left}px`;
  menu.style.top = `${below ? box.bottom + 2 : Math.max(4, box.top - menu.offsetHeight - 2)}px`;
}
