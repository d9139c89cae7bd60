import { StoreFailure } from './failure.js';

const KEY = /^[a-z0-9-]{1,64}$/;

/**
 * Tells whether a text is the name of an entry: fit for a file name.
 * @param {string} text
 */
export function isKey(text) {
  return KEY.test(text);
}

/**
 * Returns the text if it is the name of an entry.
 * @param {string} text
 */
export function checkedKey(text) {
  if (isKey(text)) return text;
  throw new StoreFailure('invalid-key', 'a key is 1 to 64 characters of a-z, 0-9 and -');
}
