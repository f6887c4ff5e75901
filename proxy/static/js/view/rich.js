/**
 * The text of a message as elements: what `markup.js` found in it.
 *
 * @typedef {import('../markup.js').Block} Block
 * @typedef {import('../markup.js').Inline} Inline
 */

import { parse } from '../markup.js';
import { t } from '../texts.js';

const TAGS = { bold: 'strong', italic: 'em' };

/**
 * @param {HTMLElement} parent which is emptied before
 * @param {string} content
 */
export function fillText(parent, content) {
  const blocks = parse(content);
  const [first] = blocks;
  const isFlat = blocks.length === 1 && first.kind === 'words';
  parent.classList.toggle('rich', !isFlat);
  parent.replaceChildren(...(isFlat ? inlineNodes(first.inner) : blocks.map(blockOf)));
}

/**
 * @param {Block} block
 * @returns {HTMLElement}
 */
function blockOf(block) {
  switch (block.kind) {
    case 'words':
      return element('div', inlineNodes(block.inner), 'words');
    case 'fence':
      return fenceOf(block.text, block.language);
    case 'quote':
      return element('blockquote', block.blocks.map(blockOf));
    default:
      return listOf(block.items);
  }
}

/** @param {import('../markup.js').Item[]} items */
function listOf(items) {
  const list = items.map(({ number, level, inner }) => {
    const item = document.createElement('li');
    if (number) item.value = number;
    item.className = `level-${level}`;
    item.append(...inlineNodes(inner));
    return item;
  });
  return element(items[0].number ? 'ol' : 'ul', list);
}

/**
 * @param {string} text
 * @param {string} language
 */
function fenceOf(text, language) {
  const pre = element('pre', [element('code', [text])]);
  pre.dir = 'ltr';
  // A long line is scrolled by keys as well.
  pre.tabIndex = 0;
  pre.setAttribute('role', 'group');
  pre.setAttribute('aria-label', language ? t('message.code_in', { language }) : t('message.code'));
  const copy = element('button', [t('message.copy_code')], 'code-copy');
  Object.assign(copy, { type: 'button', tabIndex: -1 });
  copy.dataset.action = 'copy-code';
  return element('div', [pre, copy], 'fence');
}

/**
 * @param {HTMLElement} button that copies
 * @returns {string} the code above it
 */
export function codeBeside(button) {
  return button.parentElement?.querySelector('code')?.textContent ?? '';
}

/**
 * @param {Inline[]} inner
 * @returns {(string | Node)[]}
 */
function inlineNodes(inner) {
  return inner.map((piece) => {
    switch (piece.kind) {
      case 'text':
        return piece.text;
      case 'code':
        return element('code', [piece.text]);
      case 'link':
        return linkOf(piece.text, piece.href);
      default:
        return element(TAGS[piece.kind], inlineNodes(piece.inner));
    }
  });
}

/**
 * @param {string} text
 * @param {string} href
 */
function linkOf(text, href) {
  const anchor = document.createElement('a');
  anchor.textContent = text;
  anchor.href = href;
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer';
  anchor.tabIndex = -1;
  return anchor;
}

/**
 * @param {string} tag
 * @param {(string | Node)[]} children
 * @param {string} [name] of its class
 */
function element(tag, children, name = '') {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}
