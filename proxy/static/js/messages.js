/**
 * Lists of messages, ordered by their position in the room, each position once. Of two
 * copies of a message the one holds that more changes made what it is.
 *
 * @typedef {import('./protocol.js').ChatMessage} ChatMessage
 */

/**
 * The server's own idea of sameness, within a room.
 *
 * @param {{sender_id: string, id: string}} message
 */
export function messageKey(message) {
  return `${message.sender_id}\0${message.id}`;
}

/**
 * @param {ChatMessage} message
 * @returns {number} the number of the change that made it what it is; 0: it never changed
 */
export function changeOf(message) {
  return message.extra?.state?.change ?? 0;
}

/**
 * @param {ChatMessage[]} messages ordered; changed in place
 * @param {ChatMessage} message
 * @returns {boolean} false when it is there already
 */
export function insert(messages, message) {
  let index = messages.length;
  while (index > 0 && messages[index - 1].seq > message.seq) index -= 1;
  if (index > 0 && messages[index - 1].seq === message.seq) {
    messages[index - 1] = newer(messages[index - 1], message);
    return false;
  }
  messages.splice(index, 0, message);
  return true;
}

/**
 * @param {ChatMessage[]} messages ordered
 * @param {ChatMessage[]} more in any order; of two that are alike the known one stays
 * @returns {ChatMessage[]}
 */
export function merge(messages, more) {
  const bySeq = new Map(messages.map((message) => [message.seq, message]));
  for (const message of more) {
    const known = bySeq.get(message.seq);
    bySeq.set(message.seq, known ? newer(known, message) : message);
  }
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}

/**
 * @param {ChatMessage} known
 * @param {ChatMessage} other
 */
function newer(known, other) {
  return changeOf(other) > changeOf(known) ? other : known;
}

/**
 * @param {ChatMessage[]} messages ordered
 * @returns {{after: number, before: number} | null} the first hole
 */
export function findGap(messages) {
  const last = messages.at(-1);
  if (!last || last.seq - messages[0].seq + 1 === messages.length) return null;
  const index = messages.findIndex((message, i) => messages[i + 1].seq !== message.seq + 1);
  return { after: messages[index].seq, before: messages[index + 1].seq };
}

/**
 * @param {ChatMessage[]} messages ordered
 * @param {number} seq
 * @returns {number} the index of the message at that position; -1: it is not there
 */
export function indexOf(messages, seq) {
  let [low, high] = [0, messages.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (messages[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return messages[low]?.seq === seq ? low : -1;
}

/**
 * @param {{messages: ChatMessage[]}} room
 * @param {number} seq
 * @returns {ChatMessage | undefined} undefined if it is not loaded
 */
export function findMessage({ messages }, seq) {
  return messages[indexOf(messages, seq)];
}
