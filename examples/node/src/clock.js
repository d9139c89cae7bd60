import { setTimeout as wait } from 'node:timers/promises';

/** The longest that a timer of Node's can be set to. */
const LONGEST = 2 ** 31 - 1;

/**
 * Time, as lent to the plugin. All in milliseconds.
 * @typedef {object} Clock
 * @property {() => number} now the wall clock
 * @property {() => number} elapsed never decreases
 * @property {(span: number) => Promise<void>} sleep
 */

/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  elapsed: () => Math.floor(performance.now()),
  sleep: (span) => wait(Math.min(span, LONGEST)),
};
