import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { DEPTH, isMarked, parse, plainText } from '../../proxy/static/js/markup.js';
import { randomFrom } from './support.mjs';

/** Writes a tree in brief: `b(…)`, `i(…)`, `c(…)`, `a(…)`, blocks by their names. */
const brief = (nodes) => nodes.map(briefOf).join('');
const LETTERS = { bold: 'b', italic: 'i', code: 'c', link: 'a' };
function briefOf(node) {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'words':
      return brief(node.inner);
    case 'fence':
      return `fence(${node.language}: ${node.text})`;
    case 'quote':
      return `quote(${brief(node.blocks)})`;
    case 'list':
      return `list(${node.items.map(({ number, level, inner }) => `${number || '-'}/${level} ${brief(inner)}`).join(', ')})`;
    default:
      return `${LETTERS[node.kind]}(${node.inner ? brief(node.inner) : node.text})`;
  }
}

const check = (cases) => {
  for (const [text, expected = text] of cases) assert.equal(brief(parse(text)), expected, text);
};

describe('in a line', () => {
  test('emphasis and code are found', () =>
    check([
      ['a **b c** d, _e_. (_f_)', 'a b(b c) d, i(e). (i(f))'],
      ['**a _b_ c** _d **e** f_', 'b(a i(b) c) i(d b(e) f)'],
      ['`a_b_` ``c ` d`` **`e`**', 'c(a_b_) c(c ` d) b(c(e))'],
      ['**two\nlines**', 'b(two\nlines)'],
      ['这是**粗体**字', '这是b(粗体)字'],
      ['_foo_bar_', 'i(foo_bar)'],
    ]));

  test('what marks nothing stays as it was written', () =>
    check([
      ['snake_case __init__ 2**3**4 5 * 3 * 2 ** 4'],
      ['¯\\_(ツ)_/¯'],
      ['**open _here `too'],
      ['** a ** _ b _ ` `'],
      ['**a\n\nb** `c\nd`'],
      ['_a **b_', 'i(a **b)'],
      ['x > y, <b>no</b> &amp; - no list, 1. neither'],
      ['\\**a'],
    ]));

  test('addresses have no markers in them', () =>
    check([
      ['https://a.example/_x_/**y** _https://b.example/c_d_', 'a(https://a.example/_x_/**y)** i(a(https://b.example/c_d))'],
      ['**www.example.org**, awww.x.y, me@www.x.y, www.x', 'b(a(www.example.org)), awww.x.y, me@www.x.y, www.x'],
    ]));
});

describe('of lines', () => {
  test('fences keep their text as it is', () =>
    check([
      ['see\n\n```js\n  **let** x;\n\n> y\n```\n\nend', 'seefence(js:   **let** x;\n\n> y)end'],
      ['```\na```', 'fence(: a)'],
      ['```const a = 1;\nb\n```', 'fence(: const a = 1;\nb)'],
      ['```\nopen'],
      ['```one```', 'c(one)'],
    ]));

  test('quotes and lists are found', () =>
    check([
      ['> a\n> **b**\nc', 'quote(a\nb(b))c'],
      ['> a\n> > b', 'quote(aquote(b))'],
      ['>a >_< >:(\n>\n>'],
      ['Buy:\n- milk\n- _eggs_\n  white\n  - small\nand', 'Buy:list(-/1 milk, -/1 i(eggs)\nwhite, -/2 small)and'],
      ['3. a\n7. b\n- c', 'list(3/1 a, 7/1 b)list(-/1 c)'],
      ['-1\n1.5\n2024. Good'],
      ['  - indented', 'list(-/2 indented)'],
    ]));

  test('depth has an end', () => {
    assert.equal(brief(parse('> '.repeat(9) + 'a')), `${'quote('.repeat(DEPTH)}${'> '.repeat(9 - DEPTH)}a${')'.repeat(DEPTH)}`);
  });
});

test('a plain text has no markers, and says whether there were any', () => {
  const text = 'see **this**:\n> so\n1. one\n2. `two`';
  assert.equal(plainText(text), 'see this:\nso\n1. one\n2. two');
  assert.ok(isMarked(text));
  for (const plain of ['a_b https://x.example 2*3', '', 'lines\n\nof words']) {
    assert.equal(plainText(plain), plain);
    assert.equal(isMarked(plain), false);
  }
});

describe('of any text', () => {
  const PARTS = ['**', '_', '`', '``', '```', '\n', '\n\n', '> ', '- ', '1. ', '  ', ' ', 'a', 'b1', 'é', '😀', '字', '\\', '*', '.', '(', ')', 'https://x.y/', 'www.a.b', '\t', '<b>', '"', '\u202e'];
  const random = randomFrom(11);
  const texts = Array.from({ length: 3000 }, () =>
    Array.from({ length: 1 + Math.floor(random() * 24) }, () => PARTS[Math.floor(random() * PARTS.length)]).join(''),
  );

  test('nothing but markers and blanks is lost, nothing is added, and the order stays', () => {
    for (const text of texts) {
      const shown = plainText(text);
      let at = 0;
      for (const character of shown) {
        const found = text.indexOf(character, at);
        // What ends one block and begins the next is put as one line break.
        assert.ok(found >= 0 || character === '\n', `${JSON.stringify(text)} shows ${JSON.stringify(shown)}`);
        if (found >= 0) at = found + character.length;
      }
      const words = (given) => given.replace(/[\s*_`>•.\d-]/gu, '');
      assert.equal(words(shown), words(text), JSON.stringify(text));
    }
  });

  test('the tree is shallow', () => {
    const depthOf = (node) => 1 + Math.max(0, ...(node.inner ?? node.blocks ?? node.items ?? []).map(depthOf));
    for (const text of texts) for (const block of parse(text)) assert.ok(depthOf(block) <= DEPTH + 5);
  });

  test('what is parsed once more does not change where there is no marker', () => {
    for (const text of texts) if (!isMarked(text)) assert.equal(plainText(plainText(text)), text);
  });
});

test('no text is slow: time grows as the length', { timeout: 60_000 }, () => {
  const made = [
    (n) => '>\n'.repeat(n), (n) => '> '.repeat(n), (n) => '```x\n'.repeat(n), (n) => '`a'.repeat(n), (n) => '**a '.repeat(n),
    (n) => ' _a'.repeat(n), (n) => '**_'.repeat(n), (n) => `http://a${')'.repeat(n)}`, (n) => 'www.'.repeat(n), (n) => '\n'.repeat(n),
    (n) => '- a\n  b\n'.repeat(n), (n) => `${'```\n'.repeat(n)}x`, (n) => Array.from({ length: 180 }, (_, i) => '`'.repeat(i)).join(' ') + ' '.repeat(n),
  ];
  // It takes a second; in quadratic time it would take minutes.
  for (const make of made) assert.ok(parse(make(100_000)).length > 0);
});
