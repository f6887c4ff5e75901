/** A long press by a finger on a message. */

/** So long a finger rests. */
export const PRESS_MS = 450;
/** So far it may wander, in pixels. */
const WANDER = 10;

/**
 * @param {HTMLElement} area
 * @param {(message: HTMLElement) => void} onPress
 */
export function onLongPress(area, onPress) {
  /** @type {{timer: ReturnType<typeof setTimeout>, x: number, y: number} | null} */
  let pressed = null;
  const forget = () => {
    clearTimeout(pressed?.timer);
    pressed = null;
  };
  area.addEventListener('pointerdown', ({ pointerType, target, clientX: x, clientY: y, isPrimary }) => {
    forget();
    const bubble = target instanceof Element && isPrimary ? target.closest('[data-part="bubble"]') : null;
    const message = bubble?.closest('li');
    // A link has a menu of the browser's own.
    if (pointerType === 'mouse' || !message || (target instanceof Element && target.closest('a'))) return;
    const timer = setTimeout(() => {
      pressed = null;
      onPress(message);
    }, PRESS_MS);
    pressed = { timer, x, y };
  });
  area.addEventListener('pointermove', ({ clientX, clientY }) => {
    if (pressed && Math.hypot(clientX - pressed.x, clientY - pressed.y) > WANDER) forget();
  });
  for (const end of ['pointerup', 'pointercancel', 'scroll']) area.addEventListener(end, forget);
  area.addEventListener('contextmenu', (event) => {
    // Android opens its own menu at a long press.
    const touch = 'pointerType' in event && event.pointerType === 'touch';
    if (touch && event.target instanceof Element && !event.target.closest('a')) event.preventDefault();
  });
}
