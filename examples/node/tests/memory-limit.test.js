import assert from 'node:assert/strict';
import test from 'node:test';

import { withMemoryLimit } from '../scripts/memory-limit.js';

const PAGE = 65_536;
const HEADER = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
const EXPORT = [7, 5, 1, 1, 0x6d, 2, 0];

/** A module that exports a memory of one page. */
const growing = Uint8Array.from([...HEADER, 5, 3, 1, 0, 1, ...EXPORT]);

function memoryOf(module) {
  return new WebAssembly.Instance(new WebAssembly.Module(module)).exports.m;
}

test('a memory grows to its most and not beyond', () => {
  memoryOf(growing).grow(500);
  const memory = memoryOf(withMemoryLimit(growing, 300 * PAGE));
  memory.grow(299);
  assert.throws(() => memory.grow(1), RangeError);
});

test('a lower most stays, and a module without memory stays as it is', () => {
  const bounded = Uint8Array.from([...HEADER, 5, 4, 1, 1, 1, 2, ...EXPORT]);
  assert.throws(() => memoryOf(withMemoryLimit(bounded, 300 * PAGE)).grow(2), RangeError);
  const none = Uint8Array.from(HEADER);
  assert.equal(withMemoryLimit(none, PAGE), none);
});

test('memories that cannot be bounded are refused', () => {
  for (const section of [[5, 3, 1, 4, 1], [5, 5, 2, 0, 1, 0, 1], [5, 3, 1, 0, 2]]) {
    assert.throws(() => withMemoryLimit(Uint8Array.from([...HEADER, ...section]), PAGE));
  }
});
