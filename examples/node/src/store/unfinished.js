/**
 * The names of files that are not yet in their place: `.KEY.N.xxxxxx`. `N` says of which revision the write is the successor, 0 where
 * there is no entry; or it is another word, and then the file is nothing but a copy of what is there.
 */
import { isKey } from './key.js';

/**
 * Reads a file's name; `undefined` where it is the name of something else.
 * @param {string} name
 * @returns {{ key: string, isSuccessor: boolean, follows?: number } | undefined}
 */
export function parse(name) {
  const [, key, rest] = /^\.([^.]*)\.(.*)$/s.exec(name) ?? [];
  if (key === undefined || !isKey(key)) return undefined;
  const [, digits] = /^(\d+)\./.exec(rest) ?? [];
  if (digits === undefined) return { key, isSuccessor: false };
  const revision = Number(digits);
  return { key, isSuccessor: true, follows: revision > 0 ? revision : undefined };
}

/**
 * What the names of all unfinished files of a key begin with.
 * @param {string} key
 */
export const prefix = (key) => `.${key}.`;

/**
 * What the name of a new generation begins with.
 * @param {string} key
 * @param {number | undefined} follows
 */
export const successorPrefix = (key, follows) => `${prefix(key)}${follows ?? 0}.`;

/**
 * What the name of the previous generation's file begins with.
 * @param {string} key
 */
export const previousPrefix = (key) => `${prefix(key)}previous.`;
