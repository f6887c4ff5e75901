/** The dialog in which a room gets a title and a topic, and that shows them whole. */

import { sentenceOf } from '../errors.js';
import { titleOf } from '../info.js';
import { contentBytes, contentProblem, nameProblem, typedName } from '../rules.js';
import { t } from '../texts.js';
import { byId, setProblem } from './dom.js';

const TOPIC_BYTES = 1024;

export class RoomInfoView {
  #dialog = byId('room-info', HTMLDialogElement);
  #title = byId('room-info-name', HTMLInputElement);
  #topic = byId('room-info-topic', HTMLTextAreaElement);
  #titleProblem = byId('room-info-name-problem', HTMLElement);
  #topicProblem = byId('room-info-topic-problem', HTMLElement);
  #save = byId('room-info-save', HTMLButtonElement);
  #onSave;
  /** @type {import('../room.js').Room | null} */
  #room = null;
  #change = 0;

  /**
   * @param {(info: {id: string, title: string, topic: string}, ifChange: number) => Promise<void>} onSave
   *   rejected with the server's error
   */
  constructor(onSave) {
    this.#onSave = onSave;
    byId('room-info-form', HTMLFormElement).addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#submit();
    });
    byId('room-info-cancel', HTMLButtonElement).addEventListener('click', () => this.#dialog.close());
    this.#title.addEventListener('input', () => this.#check());
    this.#topic.addEventListener('input', () => this.#check());
  }

  /** @param {import('../room.js').Room} room */
  open(room) {
    this.#room = room;
    this.#change = room.infoChange;
    this.#title.value = titleOf(room);
    this.#topic.value = room.topic;
    byId('room-info-id', HTMLElement).textContent = room.id;
    this.#check();
    this.#dialog.showModal();
  }

  #check() {
    const name = typedName(this.#title.value);
    setProblem(this.#title, this.#titleProblem, name ? nameProblem(name, 'room') : '');
    const topic = this.#topic.value.trim();
    const excess = contentBytes(topic) > TOPIC_BYTES ? t('roominfo.long') : contentProblem(topic);
    setProblem(this.#topic, this.#topicProblem, excess);
    return this.#titleProblem.hidden && this.#topicProblem.hidden;
  }

  async #submit() {
    const room = this.#room;
    if (!room || !this.#check()) return;
    const title = typedName(this.#title.value);
    const info = { id: room.id, title: title === room.id ? '' : title, topic: this.#topic.value.trim() };
    this.#save.disabled = true;
    try {
      await this.#onSave(info, this.#change);
      this.#dialog.close();
    } catch (error) {
      this.#refuse(/** @type {import('../protocol.js').ErrorBody} */ (error), room);
    } finally {
      this.#save.disabled = false;
    }
  }

  /**
   * @param {import('../protocol.js').ErrorBody} error
   * @param {import('../room.js').Room} room
   */
  #refuse(error, room) {
    const isStale = error.code === 'FAILED_PRECONDITION';
    const words = isStale ? t('roominfo.stale', { title: titleOf(room), topic: room.topic }) : sentenceOf(error);
    setProblem(this.#topic, this.#topicProblem, words);
    // Saved again, it holds all the same.
    if (isStale) this.#change = room.infoChange;
  }
}
