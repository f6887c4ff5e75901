/**
 * The messages of the current room, and the place in them. The place is kept by
 * hand: at the bottom it sticks to the newest message, anywhere else to the first
 * message in view, whatever is added, taken away or resized above it.
 *
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 *
 * @typedef {object} Place
 * @property {string} key of the line
 * @property {number} bottom where it ends, in pixels below the top of the view: when the line above
 *   it changes, it may get or lose the name at its top
 *
 * @typedef {object} Handlers
 * @property {(roomId: string) => void} onOlder
 * @property {(roomId: string) => void} onNewer
 * @property {(roomId: string, goal: number | 'newest') => void} onGoTo loads what is around it
 * @property {(roomId: string, id: string) => void} onRetry
 * @property {(roomId: string, id: string) => void} onDiscard
 * @property {(view: import('../store.js').View) => void} onLook
 * @property {(action: string, element: HTMLElement, button: HTMLElement) => void} onAct anything else
 *   that a button in a message does
 */

import { unread } from '../reading.js';
import { t } from '../texts.js';
import { timeline } from '../timeline.js';
import { byId, setText } from './dom.js';
import { EndView } from './end.js';
import { LinesView } from './lines.js';

/** So close to the bottom, in pixels, counts as at the bottom. */
const BOTTOM = 40;
/** So close to an end of what is loaded, more is. */
const NEAR = 400;
/** So much of the log stays above the mark of new messages. */
const ABOVE_MARK = 72;

export class LogView {
  #scroller = byId('log', HTMLElement);
  #list = byId('messages', HTMLOListElement);
  #older = new EndView('older', () => this.#handlers.onOlder(this.#roomId));
  #newer = new EndView('newer', () => this.#handlers.onNewer(this.#roomId));
  #blank = byId('blank', HTMLElement);
  #join = byId('blank-join', HTMLButtonElement);
  #jump = byId('jump', HTMLButtonElement);
  #handlers;
  #roomId = '';
  /** What else is shown beside the lines, as text, and whether it may be elsewhere since. */
  #state = '';
  #isMoved = true;
  #lines = new LinesView(this.#list);
  /** @type {Map<string, Place | null>} where each room was left; null: at the bottom */
  #places = new Map();
  #atBottom = true;
  #placed = false;
  #canLoad = { older: false, newer: false };
  #hasNewer = false;
  /**
   * Where to go once it is loaded: the message that is to be at the top, or the newest one.
   *
   * @type {number | 'newest' | null}
   */
  #goal = null;
  /** @type {Place | null} where one was when the room was dropped, to be loaded anew */
  #dropped = null;
  /** What was in view. */
  #view = { first: 1, last: 0, atEnd: false };

  /** @param {Handlers} handlers */
  constructor(handlers) {
    this.#handlers = handlers;
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    this.#list.addEventListener('click', (event) => this.#clicked(event));
    this.#jump.addEventListener('click', () => this.#jumped());
    const observer = new ResizeObserver(() => this.#resized());
    observer.observe(this.#scroller);
    observer.observe(this.#list);
  }

  focus() {
    this.#scroller.focus({ preventScroll: true });
  }

  /** Lets all lines be shown anew, in another language. */
  refresh() {
    this.#lines.refresh();
    this.#state = '';
  }

  /** @param {1 | -1} pages down or up */
  page(pages) {
    this.#scroller.scrollBy({ top: pages * 0.9 * this.#scroller.clientHeight });
  }

  /** Goes to the newest message. */
  toBottom() {
    this.#goal = 'newest';
    if (!this.#reachGoal()) this.#handlers.onGoTo(this.#roomId, 'newest');
  }

  /**
   * Goes to a message, which may have to be loaded, so that it is at the top.
   *
   * @param {number} seq
   */
  goTo(seq) {
    this.#goal = seq;
    if (!this.#reachGoal()) this.#handlers.onGoTo(this.#roomId, seq);
    this.focus();
  }

  /** @returns {boolean} whether there was a goal, and it is loaded */
  #reachGoal() {
    if (this.#goal === null) return false;
    return this.#goal === 'newest' ? this.#reachEnd() : this.#reach(this.#goal);
  }

  #reachEnd() {
    if (this.#hasNewer) return false;
    this.#goal = null;
    this.#atBottom = true;
    this.#placed = true;
    this.#stick();
    return true;
  }

  /** @param {number} seq */
  #reach(seq) {
    const at = this.#lines.stored.findIndex(({ dataset }) => Number(dataset.seq) >= seq);
    const isThere = at > 0 || Number(this.#lines.stored[0]?.dataset.seq) === seq;
    if (!isThere) return false;
    this.#goal = null;
    this.#placed = true;
    const line = this.#lines.stored[at].previousElementSibling;
    const top = line instanceof HTMLElement && !line.classList.contains('message') ? line : this.#lines.stored[at];
    this.#scroller.scrollTop = top.offsetTop - ABOVE_MARK;
    this.#atBottom = this.#isAtBottom();
    return true;
  }

  /** @param {Store} store */
  render(store) {
    const room = store.current;
    const place = this.#enter(room?.id ?? '');
    this.#hasNewer = room?.hasNewer ?? false;
    const lines = room ? timeline(room, store.self) : [];
    const stale = this.#lines.staleOf(lines, store.people);
    const isReady = room !== undefined && room.loaded && !room.request && !room.historyError && !room.goal;
    this.#canLoad.older = isReady && room.hasOlder && !room.wantsOlder;
    this.#canLoad.newer = isReady && room.hasNewer && !room.wantsNewer;
    const hasNewState = this.#hasNewState(room);
    const isAsBefore = stale === null && !hasNewState;
    if (!isAsBefore || !this.#placed || this.#goal !== null || this.#isMoved) {
      this.#isMoved = false;
      if (!room?.loaded) this.#drop();
      const keep = place ?? (this.#atBottom ? null : this.#firstInView());
      if (!isAsBefore) {
        this.#lines.fill(lines, stale ?? [], store.people);
        this.#describe(room);
      }
      this.#restore(room, keep);
      this.#loadNearEnds();
      this.#measure();
    }
    this.#showJump(room);
    this.#handlers.onLook(this.#view);
  }

  /** @param {Room | undefined} room */
  #hasNewState(room) {
    const { id, loaded, phase, request, historyError, hasOlder, hasNewer, wantsOlder, wantsNewer, goal } = room ?? {};
    const state = JSON.stringify([id, loaded, phase, request?.kind, historyError, hasOlder, hasNewer, wantsOlder, wantsNewer, goal]);
    const isNew = state !== this.#state;
    this.#state = state;
    return isNew;
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
    this.#lines.clear();
    this.#goal = null;
    this.#dropped = null;
    this.#placed = place !== null;
    this.#atBottom = place === null;
    return place;
  }

  /** @param {Room | undefined} room */
  #describe(room) {
    const kind = room?.request?.kind ?? '';
    const problem = room?.historyError ?? '';
    const atEnd = room !== undefined && room.wantsNewer && !room.wantsOlder;
    const isLoaded = room !== undefined && room.loaded;
    this.#older.render({
      hasMore: isLoaded && room.hasOlder,
      isBusy: isLoaded && ['older', 'fill', 'around'].includes(kind),
      problem: atEnd ? '' : problem,
    });
    this.#newer.render({
      hasMore: isLoaded && room.hasNewer,
      isBusy: isLoaded && ['newer', 'newest'].includes(kind),
      problem: atEnd ? problem : '',
    });
    this.#blank.hidden = this.#lines.elements.size > 0 || problem !== '';
    setText(this.#blank, blankText(room));
    this.#join.hidden = room !== undefined;
    this.#blank.classList.toggle('rows', room !== undefined && !room.loaded && room.phase !== 'refused');
  }

  /**
   * @param {Room | undefined} room
   * @param {Place | null} place
   */
  #restore(room, place) {
    if (room?.loaded && !room.goal) {
      if (this.#reachGoal()) return;
      // There is no such message, or it cannot be loaded.
      if (!room.request) this.#goal = null;
    }
    if (!this.#placed && room?.loaded && !room.goal) {
      this.#placed = true;
      this.#firstPlace();
    } else if (this.#atBottom || !this.#placed) this.#stick();
    else this.#stay(place);
  }

  #drop() {
    if (this.#placed && !this.#atBottom) this.#dropped = this.#firstInView();
    this.#placed = false;
  }

  /**
   * A room opens where its new messages begin; without any, at the bottom. One that was loaded
   * anew is found where it was.
   */
  #firstPlace() {
    this.#stick();
    const dropped = this.#dropped && this.#lines.elements.get(this.#dropped.key);
    if (dropped) return this.#stay(this.#dropped);
    const mark = this.#lines.elements.get('mark');
    if (mark) this.#scroller.scrollTop = Math.min(this.#scroller.scrollTop, mark.offsetTop - ABOVE_MARK);
    this.#atBottom = this.#isAtBottom();
  }

  #stick() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }

  /** @param {Place | null} place */
  #stay(place) {
    const element = place && this.#lines.elements.get(place.key);
    if (element) this.#scroller.scrollTop += this.#bottomOf(element) - place.bottom;
    else this.#stick();
    this.#atBottom = this.#isAtBottom();
  }

  /** @returns {Place | null} */
  #firstInView() {
    const messages = [...this.#lines.elements].filter(([, element]) => element.classList.contains('message'));
    const found = messages[firstOf(messages, ([, element]) => this.#bottomOf(element) > 0)];
    return found ? { key: found[0], bottom: this.#bottomOf(found[1]) } : null;
  }

  /** @param {HTMLElement} element */
  #bottomOf(element) {
    return element.getBoundingClientRect().bottom - this.#scroller.getBoundingClientRect().top;
  }

  #isAtBottom() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return !this.#hasNewer && scrollHeight - scrollTop - clientHeight < BOTTOM;
  }

  /** Looks which messages are in view. */
  #measure() {
    const atEnd = this.#placed && this.#atBottom;
    const { scrollTop, clientHeight } = this.#scroller;
    const first = this.#lines.stored[this.#countAbove(scrollTop + 1)];
    const seen = atEnd ? this.#lines.stored.length : this.#countAbove(scrollTop + clientHeight + 1);
    const last = this.#lines.stored[seen - 1];
    const isSeen = this.#placed && first && last;
    this.#view = { first: isSeen ? Number(first.dataset.seq) : 1, last: isSeen ? Number(last.dataset.seq) : 0, atEnd };
  }

  /**
   * @param {number} height in pixels from the top of all that is loaded
   * @returns {number} how many messages end above it
   */
  #countAbove(height) {
    return firstOf(this.#lines.stored, ({ offsetTop, offsetHeight }) => offsetTop + offsetHeight >= height);
  }

  #scrolled() {
    this.#atBottom = this.#isAtBottom();
    this.#loadNearEnds();
    this.#measure();
    this.#handlers.onLook(this.#view);
  }

  #resized() {
    this.#isMoved = true;
    if (this.#atBottom) this.#stick();
  }

  #loadNearEnds() {
    if (!this.#placed) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    if (this.#canLoad.older && scrollTop <= NEAR) {
      this.#canLoad = { older: false, newer: false };
      this.#handlers.onOlder(this.#roomId);
    } else if (this.#canLoad.newer && scrollHeight - scrollTop - clientHeight <= NEAR) {
      this.#canLoad = { older: false, newer: false };
      this.#handlers.onNewer(this.#roomId);
    }
  }

  #jumped() {
    this.toBottom();
    this.focus();
  }

  /** @param {Room | undefined} room */
  #showJump(room) {
    const count = room ? unread(room) : 0;
    this.#jump.hidden = this.#atBottom || !room?.loaded;
    setText(this.#jump, count > 0 ? t('jump.new', { count }) : t('jump.newest'));
    this.#jump.classList.toggle('news', count > 0);
  }

  /** @param {MouseEvent} event */
  #clicked({ target }) {
    const button = target instanceof Element ? target.closest('button') : null;
    const element = /** @type {HTMLElement | null | undefined} */ (button?.closest('.message'));
    const action = button?.dataset.action;
    const id = element?.dataset.id;
    if (!button || !element || !action || !id) return;
    if (element.dataset.seq || action === 'copy-code') this.#handlers.onAct(action, element, button);
    else if (action === 'retry') this.#handlers.onRetry(this.#roomId, id);
    else if (action === 'discard') this.#handlers.onDiscard(this.#roomId, id);
  }
}

/**
 * @template T
 * @param {T[]} list
 * @param {(one: T) => boolean} test holds for none, or from one of them on
 * @returns {number} the index of that one; the length if it holds for none
 */
function firstOf(list, test) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (test(list[middle])) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** @param {Room | undefined} room */
function blankText(room) {
  if (!room) return t('log.no_room');
  if (room.phase === 'refused') return '';
  return t(room.loaded ? 'log.empty' : 'log.loading');
}
