/**
 * What the list of rooms shows while somebody types the name of one. Pure.
 *
 * @typedef {import('./directory.js').Directory} Directory
 * @typedef {import('./finder.js').Finder} Finder
 * @typedef {import('./store.js').Store} Store
 */

import { find } from './directory.js';
import { nameProblem, typedName } from './rules.js';
import { t } from './texts.js';

/**
 * @param {Pick<Store, 'rooms' | 'currentId' | 'link'>} store
 * @param {Directory} directory
 * @param {Pick<Finder, 'state' | 'isSure'>} finder
 * @param {string} query
 * @param {import('./view/entry.js').Mode} mode
 * @returns {import('./view/choices.js').Offer}
 */
export function offerOf(store, directory, { state, isSure }, query, mode) {
  const isOpen = store.link.phase === 'open';
  const isListed = isOpen && state !== 'absent';
  const all = directory.choices(store.rooms.values(), store.currentId);
  // Who was there before the connection was lost may have gone.
  const known = isListed ? all : all.filter(({ joined }) => joined).map((room) => ({ ...room, present: 0 }));
  const rooms = find(known, query, { newFirst: mode !== 'switch' });
  const name = typedName(query);
  const exact = all.find(({ id }) => id === name) ?? rooms.find(({ title }) => name && title === name);
  const isNew = !exact && isOpen && isSure && nameProblem(name, 'room') === '';
  const isEmpty = isOpen && state === 'known' && all.length === 0 && !name;
  const problem = isOpen && state === 'failed' ? t('choices.failed') : '';
  const isLoading = isOpen ? state === 'loading' : store.link.phase === 'connecting';
  return {
    rooms,
    exact: exact?.id ?? '',
    create: isNew ? name : '',
    note: isEmpty ? t('choices.empty') : problem,
    isLoading,
    // Whoever comes for the first time is in none that could be listed before.
    heading: isListed || (isLoading && rooms.length === 0) ? t('choices.heading') : t('choices.yours'),
    startsAtFirst: mode === 'switch',
  };
}
