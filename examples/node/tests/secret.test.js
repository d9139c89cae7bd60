import assert from 'node:assert/strict';
import test from 'node:test';
import { inspect } from 'node:util';

import { AccessToken, Secret } from '../src/index.js';

test('a secret prints stars, however it is printed', () => {
  const secret = new Secret('hunter2');
  const token = new AccessToken({ bearer: 'hunter2', refreshAt: 1, expiresAt: 2 });
  for (const text of [`${secret}`, inspect(secret), JSON.stringify({ secret }), inspect(token, { showHidden: true }), JSON.stringify(token)]) {
    assert.match(text, /\*\*\*\*/);
    assert.doesNotMatch(text, /hunter2/);
  }
  assert.equal(secret.expose(), 'hunter2');
  assert.equal(token.authorization(), 'Bearer hunter2');
});

test('secrets compare by content', () => {
  assert(new Secret('a').equals(new Secret('a')));
  assert(!new Secret('a').equals(new Secret('b')));
  assert(!new Secret('a').equals(new Secret('ab')));
});
