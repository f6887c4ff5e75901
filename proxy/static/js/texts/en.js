/** The page's words in English. Keys are sorted, and each is in `fr.js` as well. */

/** @type {import('../texts.js').Catalogue} */
export const EN = {
  'app.join': 'Join a room',
  'jump.new': { one: '{count} new message', other: '{count} new messages' },
  'jump.newest': 'Newest',
  'time.now': 'now',
  'time.since_yesterday': 'yesterday {time}',
  'time.today': 'Today',
  'time.undated': 'Undated',
  'time.yesterday': 'Yesterday',
};
