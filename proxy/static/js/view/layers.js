/**
 * What lies over the page (dialogs, sheets, the drawer; for fingers menus, too) and the browser's
 * Back: it closes the topmost, and the room behind does not change.
 *
 * While something is open there is one more entry in the browser's history, of the same address;
 * Back leads from it, and that closes. Closed in another way, the entry is taken off again,
 * unless a room was gone to meanwhile: then that took its place.
 *
 * A layer is a modal dialog, or an element that has the attribute `data-open` while it is open; it
 * closes when it is sent the event `layerclose`.
 */

/** By then a browser has gone back, or never will. */
const LEAVING_MS = 1_000;
const OPEN = 'dialog:modal, [data-open]';

export class Layers {
  /** Whether the entry is on its way off. */
  #isLeaving = false;
  /** @type {(() => void)[]} what waits until it is */
  #waiting = [];

  constructor() {
    const observer = new MutationObserver(() => this.#changed());
    observer.observe(document.body, { subtree: true, attributeFilter: ['open', 'data-open'] });
    addEventListener('popstate', () => this.#popped());
  }

  /** Whether the entry of the history that is shown is that of a layer: one that goes on takes its place. */
  get isOnTop() {
    return Boolean(history.state?.layer);
  }

  /**
   * Does something to the address: at once, or when the entry of a layer that was closed is off.
   *
   * @param {() => void} change
   */
  afterwards(change) {
    if (this.#isLeaving) this.#waiting.push(change);
    else change();
  }

  #changed() {
    const isOpen = topmost() !== undefined;
    if (isOpen === this.isOnTop || this.#isLeaving) return;
    if (isOpen) history.pushState({ layer: true }, '');
    else {
      this.#isLeaving = true;
      history.back();
      setTimeout(() => this.#left(), LEAVING_MS);
    }
  }

  #left() {
    if (!this.#isLeaving) return;
    this.#isLeaving = false;
    for (const change of this.#waiting.splice(0)) change();
    // One that was opened meanwhile gets an entry of its own.
    this.#changed();
  }

  #popped() {
    if (this.#isLeaving) {
      this.#left();
      return;
    }
    const top = topmost();
    if (!top || this.isOnTop) return;
    if (top instanceof HTMLDialogElement) top.close();
    else top.dispatchEvent(new Event('layerclose'));
    // What lies below it is closed by the next Back.
    this.#changed();
  }
}

/** @returns {HTMLElement | undefined} what lies on top; the entry before one is in no room is part of the page */
function topmost() {
  if (document.body.classList.contains('outside')) return undefined;
  const open = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(OPEN));
  return [...open].at(-1);
}
