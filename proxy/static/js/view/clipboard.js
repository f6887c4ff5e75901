import { t } from '../texts.js';

/**
 * Copies a text, and says whether that was possible.
 *
 * @param {string} text
 * @param {(text: string) => void} say
 * @param {string} [otherwise] what is said if it was not
 */
export async function copyText(text, say, otherwise = t('menu.no_clipboard')) {
  try {
    await navigator.clipboard.writeText(text);
    say(t('menu.copied'));
  } catch {
    // Only a page by https or of this machine has a clipboard.
    say(otherwise);
  }
}
