/**
 * A box beside what it belongs to, above everything else: it closes by Escape, by a press
 * outside, and when the focus leaves it; for fingers by the browser's Back, too, which with a mouse
 * leads away. The focus goes back to where it was.
 */

/** Pixels between the box and its anchor, and to the edges of the page. */
const GAP = 4;
const EDGE = 8;

export class Popup {
  #box;
  #onClose;
  #touch = matchMedia('(pointer: coarse)');
  /** @type {HTMLElement | null} */
  #anchor = null;
  /** @type {Element | null} */
  #before = null;

  /**
   * @param {HTMLElement} box an element with `popover="manual"`
   * @param {() => void} [onClose]
   */
  constructor(box, onClose = () => {}) {
    this.#box = box;
    this.#onClose = onClose;
    // A press on what takes no focus has put it beside the box.
    addEventListener('keydown', (event) => this.#pressed(event), { capture: true });
    box.addEventListener('layerclose', () => this.close());
    addEventListener('pointerdown', ({ target }) => this.#touched(target), { capture: true });
    // The keyboard of a phone takes part of the page.
    addEventListener('resize', () => this.#place());
    // Tab leads out of it.
    box.addEventListener('focusout', ({ relatedTarget }) => {
      const inside = relatedTarget instanceof Node && this.#contains(relatedTarget);
      if (relatedTarget && !inside) this.close({ refocus: false });
    });
  }

  get isOpen() {
    return this.#anchor !== null;
  }

  /** @param {HTMLElement} anchor */
  open(anchor) {
    if (this.isOpen) this.close({ refocus: false });
    this.#before = document.activeElement;
    this.#anchor = anchor;
    anchor.setAttribute('aria-expanded', 'true');
    this.#box.showPopover();
    this.#box.toggleAttribute('data-open', this.#touch.matches);
    this.#place();
  }

  /** @param {{refocus?: boolean}} [options] whether the focus goes back */
  close({ refocus = true } = {}) {
    const anchor = this.#anchor;
    if (!anchor) return;
    this.#anchor = null;
    anchor.setAttribute('aria-expanded', 'false');
    const hadFocus = this.#box.contains(document.activeElement);
    this.#box.hidePopover();
    this.#box.removeAttribute('data-open');
    if (refocus && hadFocus && this.#before instanceof HTMLElement) this.#before.focus({ preventScroll: true });
    this.#onClose();
  }

  #place() {
    if (!this.#anchor) return;
    const at = this.#anchor.getBoundingClientRect();
    const { width, height } = this.#box.getBoundingClientRect();
    const below = at.bottom + GAP;
    const top = below + height + EDGE <= innerHeight ? below : at.top - GAP - height;
    const left = Math.min(at.left, innerWidth - width - EDGE);
    this.#box.style.top = `${Math.max(EDGE, Math.min(top, innerHeight - height - EDGE))}px`;
    this.#box.style.left = `${Math.max(EDGE, left)}px`;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    if (event.key !== 'Escape' || !this.isOpen) return;
    event.stopImmediatePropagation();
    event.preventDefault();
    this.close();
  }

  /** @param {EventTarget | null} target */
  #touched(target) {
    if (this.isOpen && target instanceof Node && !this.#contains(target)) this.close({ refocus: false });
  }

  /** @param {Node} node */
  #contains(node) {
    return this.#box.contains(node) || (this.#anchor?.contains(node) ?? false);
  }
}
