import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { describe, test } from 'node:test';

import { choose, partsOf, t } from '../../proxy/static/js/texts.js';
import { EN } from '../../proxy/static/js/texts/en.js';
import { FR } from '../../proxy/static/js/texts/fr.js';

const STATIC = new URL('../../proxy/static/', import.meta.url);
const PAGE = readFileSync(new URL('index.html', STATIC), 'utf8');
const MODULES = readdirSync(new URL('js/', STATIC), { recursive: true })
  .filter((name) => name.endsWith('.js') && !name.startsWith('texts/'))
  .map((name) => ({ name, source: readFileSync(new URL(`js/${name}`, STATIC), 'utf8') }));

const NAMED = /\b(?:t|partsOf)\(\s*(['"`])(.*?)\1/gs;
const LITERAL = /(['"])([a-z]+\.[a-z_.]+)\1/g;
const IN_PAGE = /\bdata-t(?:-[a-z]+)?="([^"]*)"/g;
/** Of keys, and of the browser. */
const NAMES = ['Backspace', 'Delete', 'End', 'Enter', 'Escape', 'Files', 'Home', 'Notification', 'Tab'];
const FORMS = (text) => (typeof text === 'string' ? [text] : Object.values(text));
const entries = (catalogue) => Object.entries(catalogue).flatMap(([key, text]) => FORMS(text).map((form) => [key, form]));

describe('the catalogues', () => {
  test('have the same keys, in order, with the same forms and places to fill', () => {
    assert.deepEqual(Object.keys(FR), Object.keys(EN));
    assert.deepEqual(Object.keys(EN), Object.keys(EN).toSorted());
    const places = (text) => [...new Set(FORMS(text).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();
    for (const key of Object.keys(EN)) {
      assert.equal(typeof FR[key], typeof EN[key], key);
      assert.deepEqual(places(FR[key]), places(EN[key]), key);
      if (typeof EN[key] === 'object') assert.ok(places(EN[key]).includes('{count}'), key);
    }
  });

  test('have what the page and its modules name, and nothing else', () => {
    const areas = new Set(Object.keys(EN).map((key) => key.split('.')[0]));
    const used = new Set([...PAGE.matchAll(IN_PAGE)].map(([, key]) => key));
    for (const { name, source } of MODULES) {
      assert.doesNotMatch(source, /\bt\(`/, `${name}: a key that is put together cannot be found`);
      for (const [, , key] of source.matchAll(NAMED)) used.add(key);
      for (const [, , key] of source.matchAll(LITERAL)) if (areas.has(key.split('.')[0])) used.add(key);
    }
    assert.deepEqual([...used].filter((key) => !Object.hasOwn(EN, key)), [], 'missing');
    assert.deepEqual(Object.keys(EN).filter((key) => !used.has(key)), [], 'unused');
  });

  test('are all that the page says: no words stand in it, nor in its modules', () => {
    const body = PAGE.slice(PAGE.indexOf('<div class="app">')).replace(/<!--.*?-->/gs, '');
    const bare = body.replace(/<(\w+)[^>]*\bdata-t="[^>]*>.*?<\/\1>/gs, '').replace(/<[^>]*>/g, '\n');
    assert.deepEqual(bare.match(/[A-Za-z][a-z]{2,}.*/g), ['Chat', 'Chat'], 'the name of the page and nothing else');
    for (const [tag] of body.matchAll(/<[^>]* (?:aria-label|placeholder|title)="[^>]*>/g)) assert.match(tag, /data-t-/);
    for (const { name, source } of MODULES) {
      const words = source.replace(/\/\*.*?\*\/|^\s*\/\/.*?$|new Error\(.*?\)|^import .*?;$/gms, '').matchAll(/'[^'\n]*'|`[^`\n]*`/g);
      for (const [literal] of words) {
        const text = literal.slice(1, -1).replace(/\$\{[^}]*\}/g, '');
        if (NAMES.includes(text)) continue;
        assert.doesNotMatch(text, /^[A-Z][a-z’]+(?:$|[ ,.!?…])|^[a-z]+ [a-z]+ [a-z]+/, `${name}: ${literal}`);
      }
      if (/\bt\(/.test(source) && name !== 'texts.js') assert.match(source, /\bt\b.*\} from '.*texts\.js'/, name);
    }
  });

  test('are set as their language is', () => {
    for (const [key, text] of [...entries(EN), ...entries(FR)]) assert.doesNotMatch(text, /\.\.\.|'|^\s|\s$|\s{2}/, key);
    for (const [key, text] of entries(FR)) {
      assert.doesNotMatch(text, /[^\u202f][?!;]|[^\u00a0]:|[^\u00a0]»|«[^\u00a0]/, key);
    }
  });
});

describe('the page as it is delivered', () => {
  test('is in English', () => {
    for (const [, tag, key, text] of PAGE.matchAll(/<(\w+)[^>]*\bdata-t="([^"]*)"[^>]*>(.*?)<\/\1>/gs)) {
      assert.equal(text, EN[key], `<${tag}>`);
    }
    for (const [tag] of PAGE.matchAll(/<[^>]*\bdata-t-[^>]*>/g)) {
      for (const [, suffix, key] of tag.matchAll(/\bdata-t-(\w+)="([^"]*)"/g)) {
        const attribute = suffix === 'label' ? 'aria-label' : suffix;
        assert.equal(new RegExp(` ${attribute}="([^"]*)"`).exec(tag)?.[1], EN[key], tag);
      }
    }
  });
});

describe('a text', () => {
  test('is filled in, with numbers as its language writes them', () => {
    assert.equal(t('jump.new', { count: 1 }), '1 new message');
    assert.equal(t('jump.new', { count: 1234 }), '1,234 new messages');
    assert.deepEqual(partsOf('jump.new', { count: 2 }, (name, text) => [name, text]), [
      '', ['count', '2'], ' new messages',
    ]);
  });

  test('that is missing is its key', () => {
    assert.equal(t('no.such'), 'no.such');
  });
});

test('the language is the first wish that is known, written as in the region', () => {
  const expected = [
    ['', ['fr-CH', 'en'], 'fr', 'fr-CH'],
    ['', ['de-AT', 'fr', 'en'], 'fr', 'fr'],
    ['', ['en-US', 'fr'], 'en', 'en-US'],
    ['', ['de-DE', 'ja'], 'en', 'en-DE'],
    ['', ['de'], 'en', 'en-DE'],
    ['', [], 'en', 'en'],
    ['', ['*'], 'en', 'en'],
    ['fr', ['en-US'], 'fr', 'fr-US'],
    ['en', ['fr-FR', 'en-GB'], 'en', 'en-GB'],
    ['xx', ['fr'], 'fr', 'fr'],
  ];
  for (const [choice, wishes, language, locale] of expected) {
    assert.deepEqual(choose(choice, wishes), { language, locale }, `${choice} ${wishes}`);
  }
});
