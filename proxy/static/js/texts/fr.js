/** The page's words in French. Before `?`, `!` and `;` stands U+202F, before `:` U+00A0. */

/** @type {import('../texts.js').Catalogue} */
export const FR = {
  'app.join': 'Rejoindre un salon',
  'jump.new': { one: '{count} nouveau message', other: '{count} nouveaux messages' },
  'jump.newest': 'Derniers messages',
  'time.now': 'à l’instant',
  'time.since_yesterday': 'hier {time}',
  'time.today': 'Aujourd’hui',
  'time.undated': 'Sans date',
  'time.yesterday': 'Hier',
};
