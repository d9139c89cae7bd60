/**
 * Revisions of the file store's entries: `max(seconds since 1970, (last >> 20) + 1) << 20`, plus 20 random bits. They grow, and none
 * is used twice for a key, whatever was deleted, torn or restored in between.
 */
import { randomInt } from 'node:crypto';

/** The greatest revision: 2⁵³ − 1. */
export const MAX = Number.MAX_SAFE_INTEGER;

/** 2²⁰: numbers beyond 32 bits have no shift here. */
const TAIL = 2 ** 20;

/**
 * Makes the revision that follows `last`; `undefined` where there is no entry.
 * @param {number | undefined} last
 */
export function next(last) {
  return compose(last, Math.floor(Date.now() / 1000), randomInt(TAIL));
}

/**
 * @param {number | undefined} last
 * @param {number} seconds
 * @param {number} tail
 */
export function compose(last, seconds, tail) {
  const follow = last === undefined ? 0 : Math.floor(last / TAIL) + 1;
  const counter = Math.min(Math.max(follow, seconds), Math.floor(MAX / TAIL));
  return counter * TAIL + tail;
}
