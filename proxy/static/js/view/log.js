/**
 * The messages of the current room, and the place in them. The place is kept by
 * hand: at the bottom it sticks to the newest message, anywhere else to the first
 * message in view, whatever is added, taken away or resized above it.
 *
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 * @typedef {import('../timeline.js').Line} Line
 *
 * @typedef {object} Place
 * @property {string} key of the line
 * @property {number} bottom where it ends, in pixels below the top of the view: when the line above
 *   it changes, it may get or lose the name at its top
 *
 * @typedef {object} Handlers
 * @property {(roomId: string) => void} onOlder
 * @property {(roomId: string, id: string) => void} onRetry
 * @property {(roomId: string, id: string) => void} onDiscard
 * @property {(view: import('../store.js').View) => void} onLook
 */

import { unread } from '../reading.js';
import { timeline } from '../timeline.js';
import { arrange, byId, setText } from './dom.js';
import { createLine, updateLine } from './message.js';

/** So close to the bottom, in pixels, counts as at the bottom. */
const BOTTOM = 40;
/** So close to the top, older messages are loaded. */
const TOP = 400;
/** So much of the log stays above the mark of new messages. */
const ABOVE_MARK = 72;

export class LogView {
  #scroller = byId('log', HTMLElement);
  #list = byId('messages', HTMLOListElement);
  #older = byId('older', HTMLElement);
  #olderButton = byId('load-older', HTMLButtonElement);
  #olderText = byId('older-text', HTMLElement);
  #blank = byId('blank', HTMLElement);
  #jump = byId('jump', HTMLButtonElement);
  #handlers;
  #roomId = '';
  /** @type {Map<string, HTMLElement>} */
  #elements = new Map();
  /** @type {HTMLElement[]} of the stored messages, in order */
  #stored = [];
  /** @type {Map<string, Place | null>} where each room was left; null: at the bottom */
  #places = new Map();
  #atBottom = true;
  #placed = false;
  #canLoad = false;
  #hasNewer = false;

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#list.addEventListener('click', (event) => this.#clicked(event));
    this.#olderButton.addEventListener('click', () => handlers.onOlder(this.#roomId));
    this.#jump.addEventListener('click', () => this.#jumped());
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.#scroller);
    observer.observe(this.#list);
  }

  /** Goes to the newest message. */
  toBottom() {
    this.#atBottom = true;
    this.#placed = true;
    this.#stick();
  }

  /** @param {Store} store */
  render(store) {
    const room = store.current;
    const place = this.#enter(room?.id ?? '');
    this.#hasNewer = room?.hasNewer ?? false;
    if (!room?.loaded) this.#placed = false;
    const keep = place ?? (this.#atBottom ? null : this.#firstInView());
    this.#fill(room ? timeline(room, store.self) : []);
    this.#describe(room);
    this.#restore(room, keep);
    this.#showJump(room);
    this.#canLoad = isReady(room) && !room.historyError;
    this.#loadAtTop();
    this.#look();
  }

  /**
   * @param {string} roomId
   * @returns {Place | null} where it was left, when another room was shown until now
   */
  #enter(roomId) {
    if (roomId === this.#roomId) return null;
    this.#places.set(this.#roomId, this.#atBottom ? null : this.#firstInView());
    const place = this.#places.get(roomId) ?? null;
    this.#roomId = roomId;
    this.#elements.clear();
    this.#placed = place !== null;
    this.#atBottom = place === null;
    return place;
  }

  /** @param {Line[]} lines */
  #fill(lines) {
    const elements = new Map(
      lines.map((line) => [line.key, this.#elements.get(line.key) ?? createLine(line)]),
    );
    for (const line of lines) updateLine(/** @type {HTMLElement} */ (elements.get(line.key)), line);
    arrange(this.#list, [...elements.values()]);
    this.#elements = elements;
    this.#stored = [...elements.values()].filter((element) => element.dataset.seq);
  }

  /** @param {Room | undefined} room */
  #describe(room) {
    const busy = room?.request?.kind === 'older' || room?.request?.kind === 'fill';
    const problem = room?.historyError ?? '';
    this.#hideOlder(!problem && !(room?.loaded && room.hasOlder));
    const offer = problem ? 'Try again' : 'Load older messages';
    setText(this.#olderButton, busy ? 'Loading older messages…' : offer);
    setText(this.#olderText, problem);
    this.#blank.hidden = this.#elements.size > 0 || problem !== '';
    setText(this.#blank, blankText(room));
  }

  /** @param {boolean} hidden */
  #hideOlder(hidden) {
    const losesFocus = hidden && this.#older.contains(document.activeElement);
    this.#older.hidden = hidden;
    if (losesFocus) this.#scroller.focus({ preventScroll: true });
  }

  /**
   * @param {Room | undefined} room
   * @param {Place | null} place
   */
  #restore(room, place) {
    if (!this.#placed && room?.loaded) {
      this.#placed = true;
      this.#firstPlace();
    } else if (this.#atBottom || !this.#placed) this.#stick();
    else this.#stay(place);
  }

  /** A room opens where its new messages begin; without any, at the bottom. */
  #firstPlace() {
    this.#stick();
    const mark = this.#elements.get('mark');
    if (mark) this.#scroller.scrollTop = Math.min(this.#scroller.scrollTop, mark.offsetTop - ABOVE_MARK);
    this.#atBottom = this.#isAtBottom();
  }

  #stick() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** @param {Place | null} place */
  #stay(place) {
    const element = place && this.#elements.get(place.key);
    if (element) this.#scroller.scrollTop += this.#bottomOf(element) - place.bottom;
    else this.#stick();
    this.#atBottom = this.#isAtBottom();
  }

  /** @returns {Place | null} */
  #firstInView() {
    for (const [key, element] of this.#elements) {
      if (!element.classList.contains('message')) continue;
      const bottom = this.#bottomOf(element);
      if (bottom > 0) return { key, bottom };
    }
    return null;
  }

  /** @param {HTMLElement} element */
  #bottomOf(element) {
    return element.getBoundingClientRect().bottom - this.#scroller.getBoundingClientRect().top;
  }

  #isAtBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return !this.#hasNewer && scrollHeight - scrollTop - clientHeight < BOTTOM;
  }

  /** Tells which messages are in view. */
  #look() {
    const atEnd = this.#placed && this.#atBottom;
    const { scrollTop, clientHeight } = this.#scroller;
    const first = this.#stored[this.#countAbove(scrollTop + 1)];
    const last = atEnd ? this.#stored.at(-1) : this.#stored[this.#countAbove(scrollTop + clientHeight + 1) - 1];
    const isSeen = this.#placed && first && last;
    this.#handlers.onLook({
      first: isSeen ? Number(first.dataset.seq) : 1,
      last: isSeen ? Number(last.dataset.seq) : 0,
      atEnd,
    });
  }

  /**
   * @param {number} height in pixels from the top of all that is loaded
   * @returns {number} how many messages end above it
   */
  #countAbove(height) {
    let [low, high] = [0, this.#stored.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { offsetTop, offsetHeight } = this.#stored[middle];
      if (offsetTop + offsetHeight < height) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #scrolled() {
    this.#atBottom = this.#isAtBottom();
    this.#loadAtTop();
    this.#look();
  }

  #resized() {
    if (this.#atBottom) this.#stick();
  }

  #loadAtTop() {
    if (!this.#canLoad || !this.#placed || this.#scroller.scrollTop > TOP) return;
    this.#canLoad = false;
    this.#handlers.onOlder(this.#roomId);
  }

  #jumped() {
    this.toBottom();
    this.#scroller.focus({ preventScroll: true });
  }

  /** @param {Room | undefined} room */
  #showJump(room) {
    const count = room ? unread(room) : 0;
    this.#jump.hidden = this.#atBottom || !room?.loaded;
    setText(this.#jump, count > 0 ? `${count} new ${count === 1 ? 'message' : 'messages'}` : 'Newest');
    this.#jump.classList.toggle('news', count > 0);
  }

  /** @param {MouseEvent} event */
  #clicked({ target }) {
    const action = target instanceof HTMLElement ? target.dataset.action : undefined;
    const id = target instanceof HTMLElement && target.closest('li')?.dataset.id;
    if (!id) return;
    if (action === 'retry') this.#handlers.onRetry(this.#roomId, id);
    if (action === 'discard') this.#handlers.onDiscard(this.#roomId, id);
  }
}

/**
 * @param {Room | undefined} room
 * @returns {room is Room}
 */
function isReady(room) {
  return room !== undefined && room.loaded && room.hasOlder && !room.request && !room.wantsOlder;
}

/** @param {Room | undefined} room */
function blankText(room) {
  if (!room) return 'You are in no room. Join one to read and write.';
  if (room.phase === 'refused') return '';
  return room.loaded ? 'Nothing here yet. Write the first message.' : 'Loading messages…';
}
