/**
 * What a person does to a room: by its menu, its topic, and the dialogs that these open.
 *
 * @typedef {import('../store.js').Store} Store
 */

import { findByTime } from '../bydate.js';
import { lossOf } from '../changing.js';
import { sentenceOf } from '../errors.js';
import { applyInfo } from '../info.js';
import { t } from '../texts.js';
import { confirmLoss } from './confirm.js';
import { GoToDateView } from './godate.js';
import { RoomInfoView } from './roominfo.js';
import { RoomMenu } from './roommenu.js';

export class RoomActing {
  #store;
  #sync;
  #out;
  #menu = new RoomMenu((action) => this.#chosen(action));
  #info = new RoomInfoView((info, ifChange) => this.#setInfo(info, ifChange));
  #date;

  /**
   * @param {Store} store
   * @param {import('../sync.js').Sync} sync
   * @param {object} outlets
   * @param {(roomId: string) => void} outlets.onLink its address is to be copied
   * @param {() => void} outlets.onRead all in it is read
   * @param {(roomId: string) => void} outlets.onLeave
   * @param {(seq: number) => void} outlets.onGo to a message of it
   * @param {() => void} outlets.onChange the store changed
   */
  constructor(store, sync, outlets) {
    this.#store = store;
    this.#sync = sync;
    this.#out = outlets;
    this.#date = new GoToDateView({ find: (at) => this.#find(at), onGo: outlets.onGo });
  }

  render() {
    this.#menu.render(this.#store.current !== undefined);
  }

  /** Shows the title and the topic, to be set. */
  openInfo() {
    const { current } = this.#store;
    if (current) this.#info.open(current);
  }

  /** @param {string} action */
  #chosen(action) {
    const { currentId } = this.#store;
    switch (action) {
      case 'link':
        this.#out.onLink(currentId);
        return;
      case 'info':
        this.openInfo();
        return;
      case 'date':
        this.#date.open();
        return;
      case 'read':
        this.#out.onRead();
        return;
      case 'leave':
        void this.#leave(currentId);
    }
  }

  /** @param {string} id */
  async #leave(id) {
    const room = this.#store.rooms.get(id);
    const text = room ? lossOf(room) : '';
    const question = { title: t('confirm.leave'), text, yes: t('confirm.leave_yes'), no: t('confirm.leave_no') };
    if (!text || (await confirmLoss(question))) this.#out.onLeave(id);
  }

  /**
   * @param {{id: string, title: string, topic: string}} info
   * @param {number} ifChange
   */
  async #setInfo(info, ifChange) {
    const { room: set } = await this.#sync.fetch({ set_room: { room: info, if_change: ifChange } });
    const room = this.#store.rooms.get(info.id);
    if (room) applyInfo(room, set);
    this.#out.onChange();
  }

  /**
   * @param {number} at the first moment of a day, in milliseconds since 1970
   * @returns {Promise<number | string>} the position of the first message since then, or why there is none
   */
  async #find(at) {
    const room = this.#store.current;
    if (!room) return '';
    const next = async (/** @type {number} */ afterSeq) => {
      const asked = { room_id: room.id, after_seq: afterSeq, limit: 1 };
      const { messages } = await this.#sync.fetch({ get_chat_history: asked });
      return messages[0];
    };
    try {
      return (await findByTime(next, room.lastSeq, at)) || t('godate.none');
    } catch (error) {
      return sentenceOf(/** @type {import('../protocol.js').ErrorBody} */ (error));
    }
  }
}
