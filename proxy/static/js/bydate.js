/**
 * Finds where a day begins in a room's history: the server gives messages by position only, but
 * their times grow with it, so that a few single messages tell.
 */

/** So many questions are asked at most: enough for any history by halving alone. */
const MOST_STEPS = 40;

/**
 * @param {(afterSeq: number) => Promise<{seq: number, sent_at: string} | undefined>} next gives the
 *   first message behind a position; undefined: there is none
 * @param {number} lastSeq position of the newest message
 * @param {number} at milliseconds since 1970
 * @returns {Promise<number>} position of the first message that was sent then or later; 0: there is none
 */
export async function findByTime(next, lastSeq, at) {
  // What is sought lies in [low, high]; beyond the end there is no message.
  let [low, high] = [1, lastSeq + 1];
  /** @type {{seq: number, time: number} | null} */
  let before = null;
  /** @type {{seq: number, time: number} | null} */
  let behind = null;
  for (let step = 0; low < high && step < MOST_STEPS; step += 1) {
    const probe = guess(low, high, before, behind, at, step);
    const message = await next(probe - 1);
    if (!message || message.seq > lastSeq) {
      high = probe;
      continue;
    }
    const found = { seq: message.seq, time: Date.parse(message.sent_at) };
    if (found.time < at) [low, before] = [found.seq + 1, found];
    // There is nothing between the probe and it, or before: old messages are not kept for ever.
    else if (found.seq > probe) return found.seq;
    else [high, behind] = [probe, found];
  }
  return low > lastSeq ? 0 : low;
}

/**
 * Guesses by the times that are known, and halves now and then, for people do not write evenly.
 *
 * @param {number} low
 * @param {number} high
 * @param {{seq: number, time: number} | null} before
 * @param {{seq: number, time: number} | null} behind
 * @param {number} at
 * @param {number} step
 */
function guess(low, high, before, behind, at, step) {
  if (step === 0) return low;
  if (step === 1) return high - 1;
  const middle = Math.floor((low + high) / 2);
  if (!before || !behind || step % 2 === 0 || behind.time <= before.time) return Math.min(middle, high - 1);
  const share = (at - before.time) / (behind.time - before.time);
  const likely = before.seq + Math.round(share * (behind.seq - before.seq));
  return Math.max(low, Math.min(likely, high - 1));
}
