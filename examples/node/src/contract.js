/** What the plugin may import and must export: the whole of it. */

/** The contract's version that this host speaks. */
export const CONTRACT_VERSION = '0.1.0';

const PACKAGE = 'procore:auth/';

/** The interfaces that this host lends, with their functions. */
export const IMPORTS = Object.freeze({
  connection: ['settings'],
  http: ['send'],
  clock: ['now', 'elapsed', 'sleep'],
  random: ['bytes'],
  store: ['get', 'put', 'hold', 'delete', 'list', 'lock', 'unlock'],
  journal: ['record'],
});

const EXPORTS = ['auth', 'api', 'advice'];

/**
 * The name of an interface as the plugin's modules ask for it.
 * @param {string} name
 */
export const importName = (name) => `${PACKAGE}${name}`;

/**
 * Checks the names of a component's imports and exports. Throws an `Error` for a person.
 * @param {string[]} imports
 * @param {string[]} exports
 */
export function checkNames(imports, exports) {
  const lent = new Set(Object.keys(IMPORTS).map(importName));
  for (const name of imports) {
    if (!lent.has(name)) throw new Error(`the component imports ${name}, which this host does not lend`);
  }
  for (const name of EXPORTS) {
    const found = exports.find((exported) => exported.startsWith(`${PACKAGE}${name}@`));
    if (found === undefined) throw new Error(`the component does not export ${PACKAGE}${name}`);
    checkVersion(found.split('@')[1]);
  }
}

/**
 * Accepts every version that is compatible by `wit/VERSIONING.md`.
 * @param {string} version
 */
export function checkVersion(version) {
  const line = (text) => text.split('.').slice(0, 2).join('.');
  if (line(version) !== line(CONTRACT_VERSION)) {
    throw new Error(
      `the component speaks version ${version} of the contract procore:auth, and this host version ${CONTRACT_VERSION}: use a matching pair`,
    );
  }
}
