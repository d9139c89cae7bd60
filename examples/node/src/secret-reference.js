/** A secret by reference, as the tool's configuration has it: `{ file: 'PATH' }` or `{ env: 'NAME' }`. */
import path from 'node:path';

import { misconfigured } from './error.js';
import { Secret } from './secret.js';
import { StoreFailure } from './store/failure.js';
import { open } from './store/private-file.js';

/** The most bytes of a secret's file. */
const LONGEST = 64 * 1024;

/**
 * Reads the secret. A file must belong to this account and be closed to all others; the line break at its end is not part of the secret.
 * @param {{ file: string } | { env: string }} reference
 * @param {string} folder what a file's path is relative to
 * @returns {Promise<Secret>}
 */
export async function referred(reference, folder) {
  const [[place, name] = [], ...more] = Object.entries(reference ?? {});
  if (typeof reference !== 'object' || typeof name !== 'string' || more.length > 0) throw unfit();
  if (place === 'env') return present(process.env[name], `The environment variable \`${name}\``);
  if (place === 'file') return present(await textOf(path.resolve(folder, name)), `The file ${name}`);
  throw unfit();
}

async function textOf(file) {
  try {
    const handle = await open(file);
    if (handle === undefined) return undefined;
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(LONGEST), 0, LONGEST, 0);
      return buffer.toString('utf8', 0, bytesRead).replace(/\r?\n$/, '');
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!(error instanceof StoreFailure)) throw error;
    throw misconfigured('invalid-settings', `The client secret cannot be read: ${error.message}.`, 'Make it a file of this account with the mode 600.');
  }
}

function present(text, where) {
  if (text) return new Secret(text);
  throw misconfigured('invalid-settings', `${where} is to hold the client secret, and is empty or missing.`, 'Put the secret there.');
}

/** Does not repeat what stands there: it may be the secret. */
function unfit() {
  const remedy = 'It is { "file": PATH } or { "env": NAME }: a secret does not stand in the file of settings.';
  return misconfigured('invalid-settings', 'The setting `clientSecret` is not acceptable.', remedy);
}
