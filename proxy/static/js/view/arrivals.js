/**
 * What arrives at the page beside the field that it is meant for: files and texts that are dropped or
 * pasted, and keys that are typed while nothing takes them. Texts go into the field of messages; files
 * cannot be sent, and a dropped one never takes the place of the page.
 */

const EDITABLE = 'input, textarea, select, [contenteditable]';
/** What takes keys of its own: where it has the focus, or where it lies over the page. */
const TAKES_KEYS = `${EDITABLE}, button, a, summary, [role="menu"], [role="listbox"]`;
const OVER = 'dialog[open], :popover-open';

/**
 * @param {object} outlets
 * @param {(text: string) => void} outlets.onText
 * @param {() => void} outlets.onFiles
 * @param {() => void} outlets.onTyping a key is about to write; where the focus is by then, it does
 */
export function listenForArrivals({ onText, onFiles, onTyping }) {
  addEventListener('dragover', (event) => {
    if (!isTaken(event)) return;
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy';
  });
  addEventListener('drop', (event) => {
    if (!isTaken(event)) return;
    event.preventDefault();
    if (hasFiles(event.dataTransfer)) onFiles();
    else give(event.dataTransfer);
  });
  addEventListener('paste', (event) => {
    const { clipboardData: data, target } = event;
    const text = data?.getData('text/plain') ?? '';
    // A word processor gives a picture beside the text.
    if (hasFiles(data) && text === '') {
      event.preventDefault();
      onFiles();
    } else if (!isEditable(target) && !document.querySelector(OVER)) {
      event.preventDefault();
      give(data);
    }
  });
  addEventListener('keydown', (event) => {
    if (!isWriting(event) || document.querySelector(OVER)) return;
    const { target } = event;
    if (target instanceof Element && target.closest(TAKES_KEYS)) return;
    onTyping();
  });

  /** @param {DataTransfer | null} data */
  function give(data) {
    const text = data?.getData('text/plain') ?? '';
    if (text) onText(text);
  }
}

/**
 * Whether something dropped is not left to the browser: it would open files and addresses in place
 * of the page, and puts texts into fields alone.
 *
 * @param {DragEvent} event
 */
function isTaken({ dataTransfer, target }) {
  return hasFiles(dataTransfer) || !isEditable(target);
}

/** @param {DataTransfer | null} data */
function hasFiles(data) {
  return data?.types.includes('Files') ?? false;
}

/** @param {EventTarget | null} target */
function isEditable(target) {
  return target instanceof Element && target.closest(EDITABLE) !== null;
}

/** @param {KeyboardEvent} event */
function isWriting({ key, ctrlKey, altKey, metaKey, isComposing, defaultPrevented }) {
  const isSign = [...key].length === 1 && key !== ' ';
  return isSign && !ctrlKey && !altKey && !metaKey && !isComposing && !defaultPrevented;
}
