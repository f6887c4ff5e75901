/**
 * Writing that is about a message: an edit of it, or an answer to it.
 *
 * @typedef {import('../protocol.js').ChatMessage} ChatMessage
 * @typedef {import('../room.js').Room} Room
 * @typedef {import('../store.js').Store} Store
 */

import { firstWords } from '../look.js';
import { findMessage } from '../messages.js';
import { t } from '../texts.js';
import { lookIn } from '../timeline.js';
import { ContextView } from './context.js';

export class Editing {
  #store;
  #sync;
  #out;
  #context;

  /**
   * @param {Store} store
   * @param {import('../sync.js').Sync} sync
   * @param {object} outlets
   * @param {() => void} outlets.onChange the store changed
   * @param {() => void} outlets.toComposer puts the focus there
   * @param {(seq: number) => void} outlets.onMissing a message is to be seen first
   * @param {(message: ChatMessage) => void} outlets.onEmptied nothing is left of its text
   */
  constructor(store, sync, outlets) {
    this.#store = store;
    this.#sync = sync;
    this.#out = outlets;
    this.#context = new ContextView(() => {
      this.cancel();
      outlets.toComposer();
    });
  }

  render() {
    const { current: room, self, people } = this.#store;
    this.#context.render(room ? contextOf(room, self, people) : null);
  }

  /**
   * @param {Room} room
   * @param {ChatMessage} message
   */
  edit(room, message) {
    const { content, unsaved } = lookIn(room, message, this.#store.self);
    room.editing = { seq: message.seq, text: unsaved || content };
    this.#begun();
  }

  /**
   * @param {Room} room
   * @param {number} seq
   */
  reply(room, seq) {
    Object.assign(room, { replyTo: seq, editing: null });
    this.#begun();
  }

  #begun() {
    this.#out.onChange();
    this.#out.toComposer();
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
      if (message) this.#out.onEmptied(message);
      return true;
    }
    if (!message) {
      // Restored by a reload, it may be of a message that is not loaded: it is to be seen first.
      this.#out.onMissing(seq);
      return true;
    }
    if (lookIn(room, message, this.#store.self).content !== content) {
      this.#sync.change(room.id, seq, 'content', content);
    } else this.#store.discardChanges(room.id, seq);
    room.editing = null;
    this.#out.onChange();
    return true;
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
