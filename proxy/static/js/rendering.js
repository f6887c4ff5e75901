/** When what changed is shown: once for all changes of a frame, and not without a rest. */

import { ticks } from './clock.js';

/** So long nothing is shown anew after it was, when there is much to show. */
const REST_MS = 50;
/** A hidden page has no frames to render in, but its title counts. */
const HIDDEN_MS = 250;

export class Rendering {
  #render;
  #isDue = false;
  #at = -Infinity;

  /** @param {() => void} render shows everything as it is now */
  constructor(render) {
    this.#render = render;
  }

  /** Renders soon: in the next animation frame, unless it has just been done. */
  schedule() {
    if (this.#isDue) return;
    this.#isDue = true;
    const ifDue = () => {
      if (this.#isDue) this.now();
    };
    const rest = this.#at + REST_MS - ticks();
    if (document.visibilityState !== 'visible') setTimeout(ifDue, HIDDEN_MS);
    else if (rest > 0) setTimeout(() => requestAnimationFrame(ifDue), rest);
    else requestAnimationFrame(ifDue);
  }

  /** Renders at once. */
  now() {
    this.#isDue = false;
    this.#at = ticks();
    this.#render();
  }
}
