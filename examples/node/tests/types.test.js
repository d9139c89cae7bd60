import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

import * as exported from '../src/index.js';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));
const TSC = createRequire(import.meta.url).resolve('typescript/bin/tsc');

test('the types serve an agent in TypeScript, by the name of the package', () => {
  const options = ['--noEmit', '--skipLibCheck', '--strict', '--target', 'es2022', '--module', 'nodenext', '--types', 'node'];
  const { status, stdout } = spawnSync(process.execPath, [TSC, ...options, 'tests/types/agent.ts'], { cwd: PACKAGE, encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('the types name what there is, and nothing else', async () => {
  const text = await readFile(new URL('../src/index.d.ts', import.meta.url), 'utf8');
  const declared = [...text.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(exported).sort());
  const [, body] = /^export class Connection \{\n(.*?)^\}/ms.exec(text);
  const methods = [...body.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name);
  assert.deepEqual(methods.sort(), Object.getOwnPropertyNames(exported.Connection.prototype).sort());
});
