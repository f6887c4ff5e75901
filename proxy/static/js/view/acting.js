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
import { firstWords } from '../look.js';
import { findMessage } from '../messages.js';
import { offersFor } from '../offers.js';
import { pinsOf } from '../pins.js';
import { t } from '../texts.js';
import { lookIn } from '../timeline.js';
import { Bar } from './bar.js';
import { copyText } from './clipboard.js';
import { confirmLoss } from './confirm.js';
import { Cursor } from './cursor.js';
import { byId } from './dom.js';
import { Editing } from './editing.js';
import { Jump } from './jump.js';
import { Menu } from './menu.js';
import { Picker } from './picker.js';
import { Pins } from './pins.js';
import { onLongPress } from './press.js';
import { codeBeside } from './rich.js';
import { showSource } from './source.js';
import { lineOf, spokenOf } from './words.js';

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
  editing;

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
        if (this.#offersOf(element).includes(action)) this.#act(action, element, this.#bar.moveTo(element, 'react'));
      },
      onMenu: (element) => this.#openMenu(element),
      onQuote: (element) => this.#goToAnswered(element),
      nameOf: (element) => spokenOf(store, this.#messageOf(element), element),
      onLeave: outlets.toComposer,
    });
    this.#jump = new Jump({
      show: outlets.show,
      focus: (element) => this.#cursor.focus(element),
      onMissing: () => outlets.notify(t('message.missing')),
    });
    this.#pins = new Pins((seq) => this.#jump.go(store.currentId, seq));
    this.editing = new Editing(store, sync, {
      onChange: outlets.onChange,
      toComposer: outlets.toComposer,
      onMissing: (seq) => this.goTo(seq),
      onEmptied: (message) => void this.#delete(message),
    });
    onLongPress(byId('messages', HTMLOListElement), (element) => this.#openSheet(element));
  }

  render() {
    const { current: room } = this.#store;
    this.#jump.render(room);
    this.#cursor.render();
    this.#bar.render();
    this.#pins.render(room ? pinsOf(room) : [], this.#store.people);
    this.editing.render();
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
    if (action === 'copy-code') void copyText(codeBeside(button), this.#out.notify);
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
    return lineOf(this.#store, this.#messageOf(element), element);
  }

  /** Edits the last message of one's own. */
  editLast() {
    const { current: room } = this.#store;
    const last = room?.messages.findLast((message) => this.#offers(message).includes('edit'));
    if (room && last) this.editing.edit(room, last);
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
    if (action === 'more') this.#openMenu(element);
    else if (this.#offersOf(element).includes(action)) this.#act(action, element, button);
  }

  /** @param {HTMLElement} element */
  #openMenu(element) {
    const message = this.#messageOf(element);
    if (!message || this.#offers(message).length === 0) return;
    this.#menu.openBeside(this.#bar.moveTo(element, 'more'), this.#offerFor(element, message));
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
        this.editing.reply(room, seq);
        return;
      case 'edit':
        this.editing.edit(room, message);
        return;
      case 'copy':
        void copyText(lookIn(room, message, self).content, this.#out.notify);
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
    await copyText(new URL(location.pathname + hashOf(roomId, seq), location.href).href, this.#out.notify);
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
}
