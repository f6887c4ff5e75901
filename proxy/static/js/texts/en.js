/** The page's words in English. Keys are sorted, and each is in `fr.js` as well. */

/** @type {import('../texts.js').Catalogue} */
export const EN = {
  'app.join': 'Join a room',
  'jump.new': { one: '{count} new message', other: '{count} new messages' },
  'jump.newest': 'Newest',
  'people.guest': 'Guest',
  'people.taken_before': '{name} has been here before. Is that you?',
  'people.taken_here': '{name} is here already. Is that you?',
  'people.taken_why':
    'Each browser is somebody of its own here. With the same name, both are shown with a sign behind it: “{shown}”.',
  'people.use_other': 'Use another name',
  'people.use_same': 'Use it all the same',
  'time.now': 'now',
  'time.since_yesterday': 'yesterday {time}',
  'time.today': 'Today',
  'time.undated': 'Undated',
  'time.yesterday': 'Yesterday',
};
