import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

const STARS = '****';

/**
 * A secret string: a token, a code or a client secret.
 *
 * `console.log`, template strings and `JSON.stringify` print `****`. The one way to the text is {@link Secret.expose}, which is easy
 * to search for.
 */
export class Secret {
  #text;

  /** @param {string} text */
  constructor(text) {
    if (typeof text !== 'string') throw new TypeError('a secret is a string');
    this.#text = text;
  }

  /**
   * Wraps a string; leaves a secret as it is.
   * @param {string | Secret} secret
   */
  static of(secret) {
    return secret instanceof Secret ? secret : new Secret(secret);
  }

  /** Returns the secret itself. Hand it to the one place that needs it, and to nothing that prints. */
  expose() {
    return this.#text;
  }

  /**
   * Compares in a time that does not tell where two secrets of equal length differ.
   * @param {Secret} other
   */
  equals(other) {
    const [ours, theirs] = [Buffer.from(this.#text), Buffer.from(other.#text)];
    return ours.length === theirs.length && timingSafeEqual(ours, theirs);
  }

  toString() {
    return STARS;
  }

  toJSON() {
    return STARS;
  }

  [inspect.custom]() {
    return STARS;
  }
}
