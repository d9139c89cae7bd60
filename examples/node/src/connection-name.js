/** A connection's name is its folder's too: it cannot name another folder than its own. */
const NAME = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** What a name is, in words. */
export const NAME_RULE = '1 to 64 characters of a-z, 0-9, - and _, and begins with a letter or a digit';

/**
 * Tells whether a value is the name of a connection.
 * @param {unknown} name
 */
export function isConnectionName(name) {
  return typeof name === 'string' && NAME.test(name);
}
