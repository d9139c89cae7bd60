/** `manifest.json` of a built plugin: of which component it is, and the digest of each of its files. Its own digest pins them all. */
import { createHash } from 'node:crypto';
import { constants, promises as fs } from 'node:fs';
import path from 'node:path';

import { misconfigured } from '../error.js';

export const MANIFEST = 'manifest.json';

/** The module that makes instances. */
export const ENTRY = 'procore-auth.js';

/** The most bytes of a file: some ten times what is built today. */
const LONGEST = 16 * 2 ** 20;

/** No path, and no name that hides. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

const DIGEST = /^[0-9a-f]{64}$/i;

/**
 * @typedef {object} Files
 * @property {string} contract the version of the contract that the component speaks
 * @property {string} component the SHA-256 of the component
 * @property {string} digest the SHA-256 of the manifest, which a pin names
 * @property {Map<string, Buffer>} contents the bytes of each file, which are those that the manifest names
 */

/**
 * Reads a plugin's files once, and checks them: what comes back is what was checked.
 * @param {string} folder
 * @param {string | undefined} pin the digest that the manifest must have; any, where it is missing
 * @returns {Promise<Files>}
 */
export async function readFiles(folder, pin) {
  if (pin !== undefined && !(typeof pin === 'string' && DIGEST.test(pin))) {
    throw misconfigured('invalid-settings', 'The pin `sha256` of the plugin is no SHA-256.', 'It is 64 hexadecimal digits: `npm run build-plugin` prints them.');
  }
  const bytes = await read(folder, MANIFEST, 'plugin-missing');
  const found = digest(bytes);
  if (pin !== undefined && pin.toLowerCase() !== found) {
    const what = `The plugin in ${folder} is not the pinned one: its manifest has the SHA-256 ${found}.`;
    throw misconfigured('plugin-not-pinned', what, 'If you built it anew, change `sha256`; otherwise put the pinned one back.');
  }
  const { contract, component, files } = parse(folder, bytes);
  const contents = await Promise.all(Object.entries(files).map(async ([name, wanted]) => [name, await checked(folder, name, wanted)]));
  return { contract, component, digest: found, contents: new Map(contents) };
}

/**
 * @param {string | Uint8Array} bytes
 */
export function digest(bytes) {
  return createHash('sha256').update(bytes).digest('hex');
}

async function checked(folder, name, wanted) {
  const bytes = await read(folder, name, 'plugin-damaged');
  if (digest(bytes) === wanted) return bytes;
  throw damaged(`${path.join(folder, name)} is not the file that was built.`);
}

function parse(folder, bytes) {
  let manifest;
  try {
    manifest = JSON.parse(bytes.toString('utf8'));
  } catch {
    // Below: there is none.
  }
  const { contract, component, files } = manifest ?? {};
  const isWhole = typeof contract === 'string' && typeof component === 'string' && isFiles(files);
  if (isWhole) return { contract, component, files };
  throw damaged(`${path.join(folder, MANIFEST)} is not as this version builds it.`);
}

function isFiles(files) {
  if (files === null || typeof files !== 'object' || !Object.hasOwn(files, ENTRY)) return false;
  return Object.entries(files).every(([name, wanted]) => NAME.test(name) && typeof wanted === 'string');
}

/** A regular file only: a pipe would be waited for, and a device has no end. */
async function read(folder, name, code) {
  const file = path.join(folder, name);
  try {
    const handle = await fs.open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new Error('not a file');
      if (stats.size > LONGEST) throw new Error('too large');
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw unusable(code, `The plugin in ${folder} cannot be read: ${name}: ${error.code ?? error.message}.`);
  }
}

function damaged(what) {
  return unusable('plugin-damaged', what);
}

function unusable(code, what) {
  return misconfigured(code, what, 'Run `npm run build-plugin -- PATH/procore-auth.wasm` in the package.');
}
