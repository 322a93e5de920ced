// Tells all charts of the page which round is looked at. They draw a line there by themselves, so
// that moving the slider sends a number instead of every curve.
/** @param {Component<{ round: number | null }>} component */
export function draw({ parentElement, data }) {
  /** @type {HTMLElement | null} */
  const host = parentElement.querySelector(".mt-marker");
  if (!host) return;
  host.dataset.round = String(data.round ?? "");
  globalThis.mtRound = data.round;
  globalThis.dispatchEvent(new CustomEvent("mt-round"));
}

export function dispose() {
  globalThis.mtRound = null;
}
