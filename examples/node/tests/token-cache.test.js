import assert from 'node:assert/strict';
import test from 'node:test';

import { AccessToken, Secret } from '../src/index.js';
import { TokenCache } from '../src/token-cache.js';

function setting() {
  const time = { now: 1000, elapsed: 0 };
  const cache = new TokenCache({ now: () => time.now, elapsed: () => time.elapsed });
  const token = new AccessToken({ bearer: 'a', refreshAt: 1100, expiresAt: 1200 });
  cache.fill(token, cache.generation);
  return { time, cache, token };
}

test('a token is handed out until its refresh moment', () => {
  const { time, cache, token } = setting();
  Object.assign(time, { now: 1099, elapsed: 99 });
  assert.equal(cache.current(), token);
  Object.assign(time, { now: 1100, elapsed: 100 });
  assert.equal(cache.current(), undefined);
});

test('neither clock is trusted alone', () => {
  for (const moment of [{ now: 999, elapsed: 10 }, { now: 1050, elapsed: 100 }, { now: 1100, elapsed: 10 }]) {
    const { time, cache } = setting();
    Object.assign(time, moment);
    assert.equal(cache.current(), undefined, JSON.stringify(moment));
  }
});

test('a call that began before a change does not put its token back', () => {
  const { cache, token } = setting();
  const { generation } = cache;
  cache.reject(new Secret('other'));
  assert.equal(cache.current(), token);
  cache.reject(token.bearer);
  cache.fill(token, generation);
  assert.equal(cache.current(), undefined);
});
