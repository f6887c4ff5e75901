/**
 * The words of the page, in the language of whoever reads it. What is built of words asks for them
 * when it shows them, not before: the language may change while the page is open.
 *
 * @typedef {string | {one: string, other: string}} Text of two forms where there is a `{count}`
 * @typedef {Record<string, Text>} Catalogue keys are flat: `area.what`
 * @typedef {Record<string, string | number>} Params
 */

import { EN } from './texts/en.js';
import { FR } from './texts/fr.js';

/** The first is the one whose texts stand in for those that another lacks. */
export const LANGUAGES = /** @type {const} */ (['en', 'fr']);
/**
 * As the page is delivered, it has the catalogue that its browser asks for, and null for others.
 *
 * @type {Record<string, Catalogue | null>}
 */
const CATALOGUES = { en: EN, fr: FR };
/** The user's choice; nothing is kept while the browser's wish decides. */
const STORED = 'chat.language';

/** What `data-t…` attributes of the page set; `data-t` alone sets the text of its element. */
const ATTRIBUTES = {
  'data-t-label': 'aria-label',
  'data-t-placeholder': 'placeholder',
  'data-t-title': 'title',
};

/** Without a document, as in tests, the page is in English. */
let spoken = typeof document === 'undefined' ? voiceOf('en', []) : voiceOf(keptChoice(), navigator.languages);
/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * Gives a text of the page.
 *
 * @param {string} key
 * @param {Params} [params] what stands in its braces; numbers are written as usual in the language,
 *   and `count` chooses the form
 * @returns {string} the English text if the language has none, and the key if there is none at all
 */
export function t(key, params) {
  const text = wordsFor(key);
  return params || typeof text !== 'string' ? partsOf(key, params).join('') : text;
}

/**
 * Gives a text in pieces, for places where a name or a key has an element of its own.
 *
 * @param {string} key
 * @param {Params} [params]
 * @param {(name: string, text: string) => T} [wrap] what is made of what stands in braces
 * @returns {(string | T)[]}
 * @template [T=string]
 */
export function partsOf(key, params = {}, wrap = (_name, text) => /** @type {T} */ (text)) {
  const text = formOf(wordsFor(key), params.count);
  return text.split(/\{(\w+)\}/).map((piece, nth) => {
    if (nth % 2 === 0) return piece;
    const value = params[piece] ?? '';
    return wrap(piece, typeof value === 'number' ? spoken.numbers.format(value) : value);
  });
}

/**
 * @param {Text} text
 * @param {string | number | undefined} count
 */
function formOf(text, count) {
  if (typeof text === 'string') return text;
  // French has a third form, for millions; here it is as the second.
  return spoken.plurals.select(Number(count ?? 0)) === 'one' ? text.one : text.other;
}

/** The language in which the page speaks. */
export function language() {
  return spoken.language;
}

/** How dates, times and numbers are written: a BCP 47 tag. */
export function locale() {
  return spoken.locale;
}

/** @returns {string} the language that the user chose; empty: what the browser asks for */
export function chosenLanguage() {
  return keptChoice();
}

/**
 * Lets the user choose the language. The page changes at once.
 *
 * @param {string} choice one of `LANGUAGES`; empty: what the browser asks for
 */
export function setLanguage(choice) {
  try {
    if (choice) localStorage.setItem(STORED, choice);
    else localStorage.removeItem(STORED);
  } catch {
    // A browser that keeps nothing changes it for this visit.
  }
  spoken = voiceOf(choice, navigator.languages);
  sayAnew();
}

function sayAnew() {
  translate(document);
  for (const listener of listeners) listener();
}

/** @param {string} key */
function wordsFor(key) {
  return CATALOGUES[spoken.language]?.[key] ?? EN?.[key] ?? FR?.[key] ?? key;
}

/**
 * Fetches the words of a language that was chosen in a browser that asks for another one.
 *
 * @param {'en' | 'fr'} language
 */
async function fetchWords(language) {
  const address = document.documentElement.getAttribute(`data-words-${language}`) ?? '';
  const found = await import(new URL(address, document.baseURI).href);
  CATALOGUES[language] = found[language.toUpperCase()];
  sayAnew();
}

/**
 * @param {() => void} listener called when the language changed: what shows words shows them anew
 */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * Puts the words of the language into all elements of the page that name a text, also into those
 * of its templates.
 *
 * @param {Document} page
 */
export function translate(page) {
  if (!CATALOGUES[spoken.language]) fetchWords(spoken.language).catch(() => {
    // Without a connection the page speaks the other language.
  });
  page.documentElement.lang = spoken.language;
  translateIn(page);
  for (const template of page.querySelectorAll('template')) translateIn(template.content);
}

/** @param {ParentNode} root its elements are given the words of the language */
export function translateIn(root) {
  for (const element of root.querySelectorAll('[data-t]')) {
    element.textContent = t(element.getAttribute('data-t') ?? '');
  }
  for (const [source, target] of Object.entries(ATTRIBUTES)) {
    for (const element of root.querySelectorAll(`[${source}]`)) {
      element.setAttribute(target, t(element.getAttribute(source) ?? ''));
    }
  }
}

/**
 * Finds the language, and how to write dates and numbers in it: as in the reader's region.
 *
 * @param {string} choice empty for none
 * @param {readonly string[]} wishes of the browser, the dearest first
 * @returns {{language: 'en' | 'fr', locale: string}}
 */
export function choose(choice, wishes) {
  const chosen = LANGUAGES.find((known) => known === choice);
  const wished = wishes.map(baseOf).map((base) => LANGUAGES.find((known) => known === base));
  const found = chosen ?? wished.find((known) => known !== undefined) ?? 'en';
  const own = wishes.find((wish) => baseOf(wish) === found);
  // Who reads English in Berlin has the clock of Berlin.
  const region = own ? '' : regionOf(wishes[0] ?? '');
  return { language: found, locale: own ?? (region ? `${found}-${region}` : found) };
}

/** @param {string} tag */
function baseOf(tag) {
  return tag.split('-')[0].toLowerCase();
}

/** @param {string} tag */
function regionOf(tag) {
  try {
    return new Intl.Locale(tag).maximize().region ?? '';
  } catch {
    return '';
  }
}

/**
 * @param {string} choice
 * @param {readonly string[]} wishes
 */
function voiceOf(choice, wishes) {
  const { language: found, locale: written } = choose(choice, wishes);
  return {
    language: found,
    locale: written,
    numbers: new Intl.NumberFormat(written),
    plurals: new Intl.PluralRules(found),
  };
}

function keptChoice() {
  try {
    return localStorage.getItem(STORED) ?? '';
  } catch {
    return '';
  }
}
