/**
 * The room that is open: its messages and the place in them, what one writes, and what is done to
 * a message.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { t } from '../texts.js';
import { mentionable } from '../who.js';
import { Acting } from './acting.js';
import { listenForArrivals } from './arrivals.js';
import { hasAttention } from './attention.js';
import { ComposerView } from './composer.js';
import { listenForCopies } from './copying.js';
import { LogView } from './log.js';
import { PillView } from './pill.js';
import { Suggest } from './suggest.js';
import { TypistsView } from './typists.js';

export class RoomView {
  #store;
  #sync;
  #out;
  #composer;
  #suggest;
  #log;
  #pill;
  #typists = new TypistsView();
  #acting;
  /** What is in view. */
  #shown = { first: 1, last: 0, atEnd: false };

  /**
   * @param {Store} store
   * @param {import('../sync.js').Sync} sync
   * @param {object} outlets
   * @param {() => void} outlets.onChange the store changed
   * @param {() => void} outlets.onDraft so did what is written
   * @param {() => void} outlets.render shows the store at once
   * @param {import('./toast.js').Toast} outlets.toast
   * @param {(text: string) => void} outlets.say to a screen reader
   */
  constructor(store, sync, outlets) {
    this.#store = store;
    this.#sync = sync;
    this.#out = outlets;
    this.#composer = new ComposerView({
      onSend: (content, isLast) => this.#send(content, isLast),
      onDraft: (draft) => {
        store.keepDraft(draft);
        outlets.onDraft();
      },
      onTyped: (text) => sync.typed(text),
      onUp: () => this.#acting.editLast(),
      onEscape: () => {
        // With nothing to cancel, it leads back to what is new.
        if (!this.#acting.editing.cancel()) this.#log.toBottom();
      },
      onPage: (pages) => this.#log.page(pages),
    });
    this.#suggest = new Suggest({
      people: () => {
        sync.askPeople();
        return mentionable(store);
      },
      onText: () => this.#composer.refresh(),
      say: outlets.say,
    });
    this.#log = new LogView({
      onOlder: (roomId) => sync.loadOlder(roomId),
      onNewer: (roomId) => sync.loadNewer(roomId),
      onGoTo: (roomId, goal) => sync.goTo(roomId, goal),
      onRetry: (roomId, id) => {
        sync.retry(roomId, id);
        this.#composer.focus();
      },
      onDiscard: (roomId, id) => {
        store.discard(roomId, id);
        outlets.onChange();
        this.#composer.focus();
      },
      onAct: (action, element, button) => this.#acting.pressed(action, element, button),
      onLook: (view) => this.#look(view),
    });
    this.#acting = new Acting(store, sync, {
      onChange: outlets.onChange,
      show: (seq) => this.#log.goTo(seq),
      toComposer: () => {
        // It has to show its text before a key can reach it.
        outlets.render();
        this.#composer.focus();
      },
      notify: (text) => outlets.toast.show(text),
    });
    this.#pill = new PillView({ onJump: () => this.#toUnread(), onRead: () => this.readAll() });
    listenForArrivals({
      onText: (text) => this.#composer.insert(text),
      onFiles: () => this.#composer.refuseFiles(),
      onTyping: () => this.#composer.focus(),
    });
    listenForCopies((message) => this.#acting.lineOf(message));
  }

  render() {
    for (const view of [this.#composer, this.#typists, this.#log]) view.render(this.#store);
    this.#pill.render(this.#store, this.#shown);
    this.#acting.render();
  }

  /** Shows all its messages anew, in another language. */
  refresh() {
    this.#log.refresh();
  }

  /** Puts the focus where one writes. */
  focus() {
    this.#composer.focus();
  }

  /**
   * @param {string} content
   * @param {boolean} isLast whether no more of it follows in another message
   */
  #send(content, isLast) {
    if (this.#acting.editing.save(content)) return;
    this.#log.toBottom();
    this.#sync.send(this.#store.currentId, content, this.#store.takeExtra(this.#suggest.take(content, isLast)));
  }

  /**
   * Goes to a message, which may have to be loaded.
   *
   * @param {number} seq
   */
  goTo(seq) {
    this.#acting.goTo(seq);
  }

  /**
   * Copies the address of a room.
   *
   * @param {string} roomId
   */
  copyLink(roomId) {
    void this.#acting.copyLink(roomId);
  }

  /** Goes to where reading stopped, if what is new is not in view. */
  jump() {
    if (this.#pill.isShown) this.#toUnread();
  }

  #toUnread() {
    this.#store.moveLine();
    this.#out.render();
    this.#log.goTo((this.#store.current?.readSeq ?? 0) + 1);
  }

  /** Is done with what is new in the room, unless that is undone. */
  readAll() {
    const marked = this.#store.readAll();
    this.#settle();
    if (!marked) return;
    const undo = () => {
      marked.undo();
      this.#settle();
    };
    const end = () => {
      marked.end();
      this.#sync.settle();
    };
    this.#out.toast.show(t('pill.done'), t('app.undo'), undo, end);
  }

  #settle() {
    this.#sync.settle();
    this.#log.focus();
  }

  /** Looks again at what is in view: somebody looks at the page now, or nobody does any more. */
  look() {
    this.#look(this.#shown);
  }

  /** @param {import('../store.js').View} view what is in view */
  #look(view) {
    this.#shown = view;
    if (this.#store.look(view, hasAttention())) this.#sync.settle();
    this.#pill.render(this.#store, view);
  }
}
