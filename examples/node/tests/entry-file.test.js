import assert from 'node:assert/strict';
import test from 'node:test';

import { Damaged, NewerFormat, decode, encode, revisionOf } from '../src/store/entry-file.js';
import { MAX, compose, next } from '../src/store/revision.js';
import * as unfinished from '../src/store/unfinished.js';

const DIGEST = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';

test('the bytes are those of the Rust host', () => {
  const bytes = Buffer.from(`{"procore-auth":1,"revision":7,"sha256":"${DIGEST}"}\nabc`);
  assert.deepEqual(encode(7, undefined, Buffer.from('abc')), bytes);
  const { revision, install, value } = decode(bytes);
  assert.deepEqual([revision, install, value.toString()], [7, undefined, 'abc']);
  assert.equal(decode(encode(7, 'id', Buffer.from('abc'))).install, 'id');
});

test('reads what other writers may write', () => {
  const text = `{ "sha256": "${DIGEST.toUpperCase()}", "by": "py", "procore-auth": 1, "revision": 7 }\nabc`;
  assert.equal(decode(Buffer.from(text)).revision, 7);
});

test('a later format is not damage', () => {
  assert.throws(() => decode(Buffer.from('{"procore-auth":2,"other":true}\n')), NewerFormat);
});

test('foreign files are damage', () => {
  for (const text of ['', '\n', '{}\n', 'null\n', '{"access_token":"a"}', '{"procore-auth":0}\n', '{"procore-auth":1}\n', `{"procore-auth":1,"revision":9007199254740992,"sha256":"${DIGEST}"}\nabc`, '\0'.repeat(10_000)]) {
    assert.throws(() => decode(Buffer.from(text)), Damaged, JSON.stringify(text));
  }
});

test('no part passes for the whole, and no change passes', () => {
  const bytes = encode(7, 'id', Buffer.from('a value'));
  for (let at = 0; at < bytes.length; at += 1) {
    assert.throws(() => decode(bytes.subarray(0, at)));
    if (at <= bytes.indexOf('\n')) continue;
    const changed = Buffer.from(bytes);
    changed[at] ^= 1;
    assert.throws(() => decode(changed), Damaged);
  }
});

test('the revision is read from the first bytes alone', () => {
  const bytes = encode(7, undefined, Buffer.from('abc'));
  assert.equal(revisionOf(bytes.subarray(0, bytes.length - 2)), 7);
  assert.equal(revisionOf(Buffer.from('{"procore-auth":1')), undefined);
});

test('revisions grow within 53 bits', () => {
  for (const last of [0, 7, 2 ** 20, 1_800_000_000 * 2 ** 20 + 17, MAX / 4]) {
    const revision = compose(Math.floor(last), 1_700_000_000, 5);
    assert(revision > last && Number.isSafeInteger(revision), String(last));
  }
  assert.notEqual(next(undefined), next(undefined));
  assert(Math.abs(next(undefined) / 2 ** 20 - Date.now() / 1000) < 2);
});

test('names of unfinished writes are read as they are written', () => {
  const parsed = (name) => unfinished.parse(name);
  assert.deepEqual(parsed(`${unfinished.successorPrefix('tokens', 7)}x1y2z3`), { key: 'tokens', isSuccessor: true, follows: 7 });
  assert.deepEqual(parsed(`${unfinished.successorPrefix('tokens', undefined)}x1`), { key: 'tokens', isSuccessor: true, follows: undefined });
  assert.deepEqual(parsed(`${unfinished.previousPrefix('tokens')}x1`), { key: 'tokens', isSuccessor: false });
  assert.deepEqual(parsed('.tokens.123456'), { key: 'tokens', isSuccessor: false });
  for (const name of ['.guard', '.lock', '.install', 'tokens', 'tokens.previous', 'tokens.damaged-1', '.A.x', '.', '..']) {
    assert.equal(parsed(name), undefined, name);
  }
});
