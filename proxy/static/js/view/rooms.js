/**
 * The list of rooms. Each is a link to its own address, so that it can be kept,
 * shared or opened beside this one.
 *
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 */

import { draftOf } from '../drafts.js';
import { inOrder, titleOf } from '../info.js';
import { hashOf } from '../location.js';
import { fold } from '../mentions.js';
import { unread } from '../reading.js';
import { t } from '../texts.js';
import { arrange, byId, fromTemplate, part, setText } from './dom.js';

const MOST = 99;
/** More rooms than that can be filtered. */
const FEW = 10;

export class RoomsView {
  #list = byId('rooms', HTMLUListElement);
  #self = byId('self', HTMLElement);
  #rename = byId('rename', HTMLButtonElement);
  #second = byId('second', HTMLAnchorElement);
  #menuCount = byId('menu-count', HTMLElement);
  #menuLabel = byId('menu-label', HTMLElement);
  #filter = byId('rooms-filter', HTMLInputElement);
  #none = byId('rooms-none', HTMLElement);
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  #shownId = '';
  /** @type {Store | null} */
  #store = null;

  /** @param {(id: string) => void} onChoose called also when the current room is chosen again */
  constructor(onChoose) {
    this.#list.addEventListener('click', (event) => {
      const link = event.target instanceof Element ? event.target.closest('a') : null;
      const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
      if (!link || !isPlain) return;
      event.preventDefault();
      onChoose(link.dataset.room ?? '');
    });
    this.#filter.addEventListener('input', () => this.#store && this.render(this.#store));
    this.#filter.addEventListener('keydown', (event) => this.#pressed(event));
  }

  /**
   * @param {EventTarget | null} target
   * @returns {boolean} whether it is the field of the filter, with something in it
   */
  isFiltering(target) {
    return target === this.#filter && this.#filter.value !== '';
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const first = this.#list.querySelector('a');
    if (event.key === 'Escape' && this.#filter.value) {
      // The drawer stays open.
      event.stopPropagation();
      this.#filter.value = '';
      if (this.#store) this.render(this.#store);
    } else if (event.key === 'Enter' && this.#filter.value && first) first.click();
    else if (event.key === 'ArrowDown' && first) first.focus();
    else return;
    event.preventDefault();
  }

  /** @param {Store} store */
  render(store) {
    setText(this.#self, store.self && store.people.shown(store.self));
    setText(this.#rename, t(store.signedIn ? 'self.other_token' : 'self.rename'));
    this.#second.href = `?as${hashOf(store.currentId)}`;
    this.#store = store;
    const rooms = this.#chosen(store);
    const items = new Map(rooms.map((room) => [room.id, this.#items.get(room.id) ?? createItem(room)]));
    for (const [id, item] of items) {
      const room = /** @type {Room} */ (store.rooms.get(id));
      updateItem(item, room, id === store.currentId);
    }
    arrange(this.#list, [...items.values()]);
    this.#items = items;
    this.#none.hidden = rooms.length > 0 || store.rooms.size === 0;
    this.#renderMenu(store);
    if (store.currentId === this.#shownId) return;
    this.#shownId = store.currentId;
    items.get(store.currentId)?.scrollIntoView({ block: 'nearest' });
  }

  /** @param {Store} store */
  #chosen(store) {
    this.#filter.hidden = store.rooms.size <= FEW;
    const wanted = this.#filter.hidden ? '' : fold(this.#filter.value.trim());
    const rooms = inOrder(store.rooms.values());
    return wanted ? rooms.filter(({ id, title }) => fold(`${title} ${id}`).includes(wanted)) : rooms;
  }

  /** @param {Store} store */
  #renderMenu(store) {
    const here = store.current ? unread(store.current) : 0;
    const elsewhere = store.unreadTotal - here;
    const mentions = [...store.rooms.values()]
      .filter((room) => room !== store.current)
      .reduce((sum, room) => sum + room.mentions, 0);
    this.#menuCount.hidden = elsewhere === 0;
    setText(this.#menuCount, mentions ? `@${short(mentions)}` : short(elsewhere));
    setText(this.#menuLabel, elsewhere ? t('rooms.menu_unread', { count: elsewhere }) : t('rooms.title'));
  }
}

/** @param {Room} room */
function createItem(room) {
  const item = fromTemplate('room-template');
  const link = part(item, 'link', HTMLAnchorElement);
  link.dataset.room = room.id;
  link.href = hashOf(room.id);
  return item;
}

/**
 * @param {HTMLElement} item
 * @param {Room} room
 * @param {boolean} isCurrent
 */
function updateItem(item, room, isCurrent) {
  const link = part(item, 'link', HTMLAnchorElement);
  const title = titleOf(room);
  setText(part(item, 'name', HTMLElement), title);
  const hasDraft = !isCurrent && draftOf(room) !== null;
  part(item, 'draft', HTMLElement).hidden = !hasDraft;
  if (isCurrent) link.setAttribute('aria-current', 'page');
  else link.removeAttribute('aria-current');
  const count = unread(room);
  const badge = part(item, 'count', HTMLElement);
  badge.hidden = count === 0;
  setText(badge, room.mentions > 0 ? `@${short(room.mentions)}` : short(count));
  badge.classList.toggle('mentions', room.mentions > 0);
  const failed = room.pending.some(({ state }) => state === 'failed') || room.phase === 'refused';
  part(item, 'trouble', HTMLElement).hidden = !failed;
  // Of its parts, a screen reader would make "lobby , 3 unread".
  const said = [
    title,
    hasDraft ? t('rooms.has_draft') : '',
    failed ? t('rooms.attention') : '',
    count ? t('rooms.unread', { count }) : '',
    count && room.mentions ? t('rooms.mentions', { count: room.mentions }) : '',
  ];
  const label = said.filter(Boolean).join(', ');
  if (link.getAttribute('aria-label') !== label) link.setAttribute('aria-label', label);
}

/** @param {number} count */
function short(count) {
  return count > MOST ? `${MOST}+` : String(count);
}
