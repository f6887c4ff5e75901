/** The page's words in French. Before `?`, `!` and `;` stands U+202F, before `:` U+00A0. */

/** @type {import('../texts.js').Catalogue} */
export const FR = {
  'app.join': 'Rejoindre un salon',
  'jump.new': { one: '{count} nouveau message', other: '{count} nouveaux messages' },
  'jump.newest': 'Derniers messages',
  'people.guest': 'Sans nom',
  'people.taken_before': 'On connaît déjà {name} ici. Est-ce vous ?',
  'people.taken_here': '{name} est déjà là. Est-ce vous ?',
  'people.taken_why':
    'Ici, chaque navigateur est une personne à part. Avec le même nom, chacune porte un signe : « {shown} ».',
  'people.use_other': 'Choisir un autre nom',
  'people.use_same': 'Garder ce nom',
  'time.now': 'à l’instant',
  'time.since_yesterday': 'hier {time}',
  'time.today': 'Aujourd’hui',
  'time.undated': 'Sans date',
  'time.yesterday': 'Hier',
};
