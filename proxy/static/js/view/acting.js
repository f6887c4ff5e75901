/**
 * What a person does to a message: by the bar, the menu, the sheet, the keyboard, the chips and the
 * composer. It puts these parts together, and hands to the conversation what is to hold.
 *
 * @typedef {import('../offers.js').Action} Action
 * @typedef {import('../protocol.js').ChatMessage} ChatMessage
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 */

import { hashOf } from '../location.js';
import { firstWords, whoReacted } from '../look.js';
import { plainText } from '../markup.js';
import { findMessage } from '../messages.js';
import { offersFor } from '../offers.js';
import { pinsOf } from '../pins.js';
import { t } from '../texts.js';
import { lookIn } from '../timeline.js';
import { Bar } from './bar.js';
import { confirmLoss } from './confirm.js';
import { ContextView } from './context.js';
import { Cursor } from './cursor.js';
import { byId } from './dom.js';
import { Jump } from './jump.js';
import { named } from './marks.js';
import { Menu } from './menu.js';
import { Picker } from './picker.js';
import { Pins } from './pins.js';
import { onLongPress } from './press.js';
import { codeBeside } from './rich.js';
import { showSource } from './source.js';
import { timeOf } from './times.js';

export class Acting {
  #store;
  #sync;
  #out;
  #menu = new Menu();
  #picker = new Picker();
  #bar;
  #cursor;
  #jump;
  #pins;
  #context;

  /**
   * @param {Store} store
   * @param {import('../sync.js').Sync} sync
   * @param {object} outlets
   * @param {() => void} outlets.onChange the store changed
   * @param {(seq: number) => void} outlets.show brings a message into view, once it is loaded
   * @param {() => void} outlets.toComposer puts the focus there
   * @param {(text: string) => void} outlets.notify to everybody
   */
  constructor(store, sync, outlets) {
    this.#store = store;
    this.#sync = sync;
    this.#out = outlets;
    this.#bar = new Bar({
      offers: (element) => this.#offersOf(element),
      onAct: (action, element, button) => this.#barred(action, element, button),
      isBusy: () => this.#menu.isOpen || this.#picker.isOpen,
    });
    this.#cursor = new Cursor({
      onAct: (action, element) => {
        if (this.#offersOf(element).includes(action)) this.#act(action, element);
      },
      onMenu: (element) => this.#openMenu(element, this.#bar.moreButton),
      onQuote: (element) => this.#goToAnswered(element),
      nameOf: (element) => this.#nameOf(element),
      onLeave: outlets.toComposer,
    });
    this.#jump = new Jump({
      show: outlets.show,
      focus: (element) => this.#cursor.focus(element),
      onMissing: () => outlets.notify(t('message.missing')),
    });
    this.#pins = new Pins((seq) => this.#jump.go(store.currentId, seq));
    this.#context = new ContextView(() => {
      this.cancel();
      outlets.toComposer();
    });
    onLongPress(byId('messages', HTMLOListElement), (element) => this.#openSheet(element));
  }

  render() {
    const { current: room, self } = this.#store;
    this.#jump.render(room);
    this.#cursor.render();
    this.#bar.render();
    this.#pins.render(room ? pinsOf(room) : [], this.#store.people);
    this.#context.render(room ? contextOf(room, self, this.#store.people) : null);
  }

  /**
   * Takes what a button in a message does.
   *
   * @param {string} action
   * @param {HTMLElement} element
   * @param {HTMLElement} button
   */
  pressed(action, element, button) {
    const room = this.#store.current;
    const message = this.#messageOf(element);
    if (action === 'copy-code') void this.#copy(codeBeside(button));
    if (!room || !message) return;
    if (action === 'toggle') this.#toggle(message, button.dataset.emoji ?? '');
    else if (action === 'go') this.#jump.go(room.id, Number(button.dataset.to));
    else if (action === 'more') this.#openSheet(element);
    else if (action === 'retry') this.#sync.retryChanges(room.id, message.seq);
    else if (action === 'discard') {
      this.#store.discardChanges(room.id, message.seq);
      this.#out.onChange();
      this.#out.toComposer();
    }
  }

  /** @param {HTMLElement} element of an answer, perhaps */
  #goToAnswered(element) {
    const room = this.#store.current;
    const answered = this.#messageOf(element)?.extra?.reply_to;
    if (room && answered) this.#jump.go(room.id, answered);
  }

  /**
   * @param {HTMLElement} element
   * @returns {string} a message as it is copied among others
   */
  lineOf(element) {
    const { current: room, self, people } = this.#store;
    const message = this.#messageOf(element);
    const textOf = (/** @type {string} */ name) => element.querySelector(`[data-part="${name}"]`)?.textContent ?? '';
    if (!room || !message) return `[${textOf('time')}] ${textOf('sender')}: ${textOf('text')}`;
    const { content, deleted } = lookIn(room, message, self);
    const time = timeOf(new Date(message.sent_at));
    return `[${time}] ${people.shown(message.sender_id)}: ${deleted ? t('message.deleted') : content}`;
  }

  /** Edits the last message of one's own. */
  editLast() {
    const { current: room, self } = this.#store;
    const last = room?.messages.findLast((message) => this.#offers(message).includes('edit'));
    if (room && last) this.#edit(room, last, self);
  }

  /**
   * Ends editing or answering.
   *
   * @returns {boolean} whether there was anything to end
   */
  cancel() {
    const room = this.#store.current;
    if (!room || (room.editing === null && room.replyTo === 0)) return false;
    if (room.editing) room.editing = null;
    else room.replyTo = 0;
    this.#out.onChange();
    return true;
  }

  /**
   * Takes the text of the composer, if it is the new one of a message.
   *
   * @param {string} content
   * @returns {boolean} whether it was
   */
  save(content) {
    const room = this.#store.current;
    if (!room?.editing) return false;
    const { seq } = room.editing;
    const message = findMessage(room, seq);
    if (content === '') {
      if (message) void this.#delete(message);
      return true;
    }
    if (!message && content !== '') {
      // Restored by a reload, it may be of a message that is not loaded: it is to be seen first.
      this.#jump.go(room.id, seq);
      return true;
    }
    if (message && lookIn(room, message, this.#store.self).content !== content) {
      this.#sync.change(room.id, seq, 'content', content);
    } else this.#store.discardChanges(room.id, seq);
    room.editing = null;
    this.#out.onChange();
    return true;
  }

  /**
   * @param {HTMLElement} element
   * @returns {ChatMessage | undefined}
   */
  #messageOf(element) {
    const room = this.#store.current;
    return room && findMessage(room, Number(element.dataset.seq));
  }

  /** @param {HTMLElement} element */
  #offersOf(element) {
    const message = this.#messageOf(element);
    return message ? this.#offers(message) : [];
  }

  /**
   * @param {ChatMessage} message
   * @returns {Action[]}
   */
  #offers(message) {
    const { current: room, self } = this.#store;
    if (!room) return [];
    return offersFor(message, lookIn(room, message, self), this.#store, room.lastChange !== null);
  }

  /**
   * @param {import('./bar.js').BarAction} action
   * @param {HTMLElement} element
   * @param {HTMLElement} button
   */
  #barred(action, element, button) {
    if (action === 'more') this.#openMenu(element, button);
    else if (this.#offersOf(element).includes(action)) this.#act(action, element, button);
  }

  /**
   * @param {HTMLElement} element
   * @param {HTMLElement} anchor
   */
  #openMenu(element, anchor) {
    const message = this.#messageOf(element);
    if (!message || this.#offers(message).length === 0) return;
    this.#bar.moveTo(element);
    this.#menu.openBeside(anchor, this.#offerFor(element, message));
  }

  /** @param {HTMLElement} element */
  #openSheet(element) {
    const message = this.#messageOf(element);
    if (message && this.#offers(message).length > 0) this.#menu.openSheet(this.#offerFor(element, message));
  }

  /**
   * @param {HTMLElement} element
   * @param {ChatMessage} message
   * @returns {import('./menu.js').Offer}
   */
  #offerFor(element, message) {
    return {
      actions: this.#offers(message),
      words: `${this.#store.people.shown(message.sender_id)}: ${firstWords(message.content)}`,
      onChoose: (action) => this.#act(action, element),
      onReact: (emoji) => this.#toggle(message, emoji),
    };
  }

  /**
   * @param {Action} action
   * @param {HTMLElement} element
   * @param {HTMLElement} [anchor]
   */
  #act(action, element, anchor = element) {
    const { current: room, self } = this.#store;
    const message = this.#messageOf(element);
    if (!room || !message) return;
    const { seq } = message;
    switch (action) {
      case 'react':
        this.#picker.open(anchor, (emoji) => this.#sync.change(room.id, seq, 'react', emoji));
        return;
      case 'reply':
        Object.assign(room, { replyTo: seq, editing: null });
        this.#out.onChange();
        this.#out.toComposer();
        return;
      case 'edit':
        this.#edit(room, message, self);
        return;
      case 'copy':
        void this.#copy(lookIn(room, message, self).content);
        return;
      case 'source':
        showSource(lookIn(room, message, self).content);
        return;
      case 'link':
        void this.copyLink(room.id, seq);
        return;
      case 'delete':
        // The bar, and a focus in it, would be gone when the question is answered.
        element.focus({ preventScroll: true });
        void this.#delete(message);
        return;
      default:
        this.#sync.change(room.id, seq, 'pinned', action === 'pin' ? 'yes' : 'no');
    }
  }

  /**
   * @param {Room} room
   * @param {ChatMessage} message
   * @param {string} self
   */
  #edit(room, message, self) {
    const { content, unsaved } = lookIn(room, message, self);
    room.editing = { seq: message.seq, text: unsaved || content };
    this.#out.onChange();
    this.#out.toComposer();
  }

  /**
   * Goes to a message of the current room, which may have to be loaded.
   *
   * @param {number} seq
   */
  goTo(seq) {
    this.#jump.go(this.#store.currentId, seq);
  }

  /**
   * Copies the address of a room, or of a message in it.
   *
   * @param {string} roomId
   * @param {number} [seq]
   */
  async copyLink(roomId, seq = 0) {
    await this.#copy(new URL(location.pathname + hashOf(roomId, seq), location.href).href);
  }

  /** @param {string} text */
  async #copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      this.#out.notify(t('menu.copied'));
    } catch {
      // Only a page by https or of this machine has a clipboard.
      this.#out.notify(t('menu.no_clipboard'));
    }
  }

  /** @param {ChatMessage} message */
  async #delete(message) {
    const { room_id: roomId, seq, sender_id: sender } = message;
    const own = sender === this.#store.self;
    const agreed = await confirmLoss({
      title: own ? t('confirm.delete') : t('confirm.delete_of', { name: this.#store.people.shown(sender) }),
      quote: firstWords(message.content),
      text: t('confirm.delete_text'),
      yes: t('confirm.delete_yes'),
      no: t('confirm.delete_no'),
    });
    const room = this.#store.rooms.get(roomId);
    if (!agreed || !room) return;
    if (room.editing?.seq === seq) room.editing = null;
    this.#sync.change(roomId, seq, 'delete', '');
  }

  /**
   * @param {ChatMessage} message
   * @param {string} emoji
   */
  #toggle(message, emoji) {
    const { current: room, self } = this.#store;
    if (!room || room.lastChange === null) return;
    const chip = lookIn(room, message, self).chips.find((one) => one.emoji === emoji);
    this.#sync.change(room.id, message.seq, chip?.mine ? 'unreact' : 'react', emoji);
  }

  /**
   * @param {HTMLElement} element
   * @returns {string} what a screen reader says of a message that gets the focus
   */
  #nameOf(element) {
    const { current: room, people, self } = this.#store;
    const message = this.#messageOf(element);
    if (!room || !message) return element.querySelector('[data-part="text"]')?.textContent ?? '';
    const look = lookIn(room, message, self);
    const mentioned = element.classList.contains('mentioned');
    const said = [
      `${people.shown(message.sender_id)}, ${timeOf(new Date(message.sent_at))}`,
      look.deleted ? t('message.deleted') : plainText(look.content),
      mentioned ? t('read_out.mentions_you') : '',
      look.edited && !look.deleted ? t('message.edited') : '',
      look.pinned ? t('read_out.pinned') : '',
      ...look.chips.map((chip) => `${chip.emoji} ${chip.count}, ${whoReacted(named(chip, people))}`),
      look.error ? t('read_out.not_saved', { reason: look.error }) : '',
      look.unsaved ? t('read_out.your_text', { text: look.unsaved }) : '',
    ];
    return said.filter((text) => text !== '').join('; ');
  }
}

/**
 * @param {Room} room
 * @param {string} self
 * @param {import('../people.js').People} people
 * @returns {Parameters<ContextView['render']>[0]}
 */
function contextOf(room, self, people) {
  const wordsOf = (/** @type {number} */ seq) => {
    const message = findMessage(room, seq);
    return message ? firstWords(lookIn(room, message, self).content) || t('message.deleted') : '';
  };
  if (room.editing) return { kind: 'edit', title: t('context.editing'), words: wordsOf(room.editing.seq) };
  if (room.replyTo === 0) return null;
  const message = findMessage(room, room.replyTo);
  const words = wordsOf(room.replyTo);
  const title = message ? t('context.reply_to', { name: people.shown(message.sender_id) }) : t('context.reply');
  return { kind: 'reply', title, words };
}
