// A button that puts the address of the page on the clipboard; the address restores the view.
/** @typedef {{ label: string }} ShareMessage */

/** @type {WeakMap<Element, { words: HTMLElement, label: string }>} */
const buttons = new WeakMap();
const SVG = "http://www.w3.org/2000/svg";

function icon() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  for (const d of ["M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1", "M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** @param {string} text */
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without https a page has no clipboard; a selected text can still be copied.
    const area = document.createElement("textarea");
    area.value = text;
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/**
 * A new button on `host`, without words as yet.
 * @param {Element} host
 */
function added(host) {
  const button = document.createElement("button");
  const words = document.createElement("span");
  button.type = "button";
  words.setAttribute("aria-live", "polite");
  button.append(icon(), words);
  button.addEventListener("click", async () => {
    const done = await copied(window.location.href);
    words.textContent = done ? "Link copied" : "Copy the address bar";
    setTimeout(() => { words.textContent = buttons.get(host)?.label ?? ""; }, 2000);
  });
  host.append(button);
  const state = { words, label: "" };
  buttons.set(host, state);
  return state;
}

/** @param {Component<ShareMessage>} component */
export function draw({ parentElement, data }) {
  const host = parentElement.querySelector(".mt-share");
  if (!host) return;
  const state = buttons.get(host) ?? added(host);
  if (state.label !== data.label) state.words.textContent = data.label;
  state.label = data.label;
}

/** @param {Component<ShareMessage>} component */
export function dispose({ parentElement }) {
  const host = parentElement.querySelector(".mt-share");
  if (host) buttons.delete(host);
}
