import assert from 'node:assert/strict';
import test from 'node:test';
import { inspect } from 'node:util';

import { Secret } from '../src/index.js';
import { DEFAULT_POLICY, checked, fingerprint, toContract } from '../src/settings.js';

const GOOD = { name: 'acme', environment: 'sandbox', clientId: 'id', clientSecret: 'hunter2' };

test('settings are completed and their secret is hidden', () => {
  const settings = checked(GOOD);
  assert.deepEqual(settings.policy, DEFAULT_POLICY);
  assert.doesNotMatch(inspect([settings, toContract(settings, 'a/1')], { depth: 9 }), /hunter2/);
  assert.deepEqual(toContract(settings, 'a/1').grant, { tag: 'client-credentials' });
});

test('the fingerprint is that of the Rust host', () => {
  assert.equal(fingerprint(new Secret('hunter2')), '1dfff4543185f233');
});

test('settings that cannot work are refused with what to do', () => {
  for (const wrong of [
    { name: '../x' },
    { name: 'A' },
    { environment: 'staging' },
    { clientId: '' },
    { clientSecret: undefined },
    { companyId: 1.5 },
    { policy: { refreshPercent: 100 } },
    { policy: { refreshPercent: '80' } },
    { policy: { unknown: 1 } },
    { policy: { pkce: 1 } },
  ]) {
    assert.throws(() => checked({ ...GOOD, ...wrong }), { kind: 'configuration', code: 'invalid-settings', remedy: /./ }, inspect(wrong));
  }
});
