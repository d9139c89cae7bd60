import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';

/**
 * Makes a folder of a test's own, which goes with the test.
 * @param {import('node:test').TestContext} t
 */
export async function folder(t) {
  const made = await mkdtemp(path.join(os.tmpdir(), 'procore-auth-node-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}
