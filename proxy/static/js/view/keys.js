/**
 * Keys that work wherever the focus is, while no dialog is open.
 *
 * @param {object} handlers
 * @param {(target: EventTarget | null) => void} handlers.onEscape
 * @param {() => void} handlers.onRead all in the room is read
 * @param {() => void} handlers.onSwitch another room is to be chosen
 * @param {() => void} handlers.onJump to what is new
 * @param {(step: number) => void} handlers.onStep to the room below or above
 */
export function listenForKeys({ onEscape, onRead, onSwitch, onJump, onStep }) {
  // Before the composer, which is empty after Enter in any case.
  addEventListener('keydown', pressed, { capture: true });

  /** @param {KeyboardEvent} event */
  function pressed(event) {
    if (document.querySelector('dialog:modal')) return;
    const { key, target, altKey, shiftKey } = event;
    if (key === 'Escape') onEscape(target);
    if (key === 'Escape' && shiftKey) onRead();
    if (key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey) && !altKey && !shiftKey) {
      event.preventDefault();
      onSwitch();
    }
    if (key === 'Enter' && isIdle(target)) onJump();
    const step = altKey ? { ArrowUp: -1, ArrowDown: 1 }[key] : undefined;
    if (step === undefined) return;
    event.preventDefault();
    onStep(step);
  }
}

/**
 * @param {EventTarget | null} target
 * @returns {boolean} whether Enter does nothing there
 */
function isIdle(target) {
  const { id, value } = /** @type {HTMLTextAreaElement} */ (target);
  return id === 'log' || (id === 'message-input' && value === '');
}
