/** Checks what a connection is lent: a misspelt capability would be as if it were missing. */
import { DEFAULT_LIMITS } from './limits.js';
import { expect, expectKnown, isCount } from './settings.js';

const NAMES = ['plugin', 'store', 'http', 'journals', 'clock', 'limits', 'actor'];

/**
 * @param {import('./connection.js').Capabilities} given
 * @returns {import('./connection.js').Capabilities}
 */
export function checkedCapabilities(given) {
  expect(isObject(given), 'capabilities', 'an object with `plugin` and `store`');
  expectKnown(given, NAMES);
  const { plugin, store, http, journals = [], clock, limits = {}, actor } = given;
  expect(isObject(plugin), 'plugin', 'what `Plugin.load` returned');
  expect(isObject(store), 'store', 'what `FileStore.open` returned');
  expect(http === undefined || isObject(http), 'http', 'an object with the function `send`');
  expect(clock === undefined || isObject(clock), 'clock', 'an object with the functions of `Clock`');
  expect(Array.isArray(journals), 'journals', 'a list');
  expect(actor === undefined || typeof actor === 'string', 'actor', 'a text');
  expect(isObject(limits), 'limits', 'an object');
  expectKnown(limits, Object.keys(DEFAULT_LIMITS), 'limits.');
  for (const [name, value] of Object.entries(limits)) expect(isCount(value), `limits.${name}`, 'a whole number');
  return given;
}

function isObject(value) {
  return value !== null && typeof value === 'object';
}
