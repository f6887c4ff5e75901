/**
 * Lists of messages, ordered by their position in the room, each position once.
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
 * @param {ChatMessage[]} messages ordered; changed in place
 * @param {ChatMessage} message
 * @returns {boolean} false when it is there already
 */
export function insert(messages, message) {
  let index = messages.length;
  while (index > 0 && messages[index - 1].seq > message.seq) index -= 1;
  if (index > 0 && messages[index - 1].seq === message.seq) return false;
  messages.splice(index, 0, message);
  return true;
}

/**
 * @param {ChatMessage[]} messages ordered
 * @param {ChatMessage[]} more in any order; of two at one position the known one stays
 * @returns {ChatMessage[]}
 */
export function merge(messages, more) {
  const known = new Set(messages.map((message) => message.seq));
  const added = more.filter((message) => !known.has(message.seq));
  return [...messages, ...added].sort((a, b) => a.seq - b.seq);
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
