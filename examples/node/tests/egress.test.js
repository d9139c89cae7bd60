/** The cases are those of every host: `tests/conformance/egress.json`. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { isDeepStrictEqual } from 'node:util';

import { Egress } from '../src/http/egress.js';
import { encoded } from '../src/http/form.js';
import { Secret } from '../src/index.js';

const CASES = JSON.parse(readFileSync(new URL('../../../tests/conformance/egress.json', import.meta.url), 'utf8'));

const production = new Egress('production');

/** What came of it: where it goes, or why not. */
const told = (work) => {
  try {
    return work();
  } catch (error) {
    assert.equal(error.sent, false, error);
    return { code: error.code };
  }
};

/** Of a case, what is expected. */
const expected = (case_, names) => Object.fromEntries(names.filter((name) => name in case_).map((name) => [name, case_[name]]));

test('requests are as the cases say', () => {
  assert(CASES.requests.length > 150);
  const wrong = [];
  for (const case_ of CASES.requests) {
    const { environment = 'production', method = 'GET', url: text, uses_secret: usesSecret = false, probing = false } = case_;
    const egress = new Egress(environment, { tokenInfoProbes: probing });
    const of = told(() => {
      const { url, destination } = egress.permit(method, text, usesSecret);
      return { destination, uri: url.href };
    });
    if (!isDeepStrictEqual(of, expected(case_, ['code', 'destination', 'uri']))) wrong.push({ case_, of });
  }
  assert.deepEqual(wrong, []);
});

test('headers are as the cases say', () => {
  assert(CASES.headers.length > 40);
  for (const case_ of CASES.headers) {
    const headers = case_.headers.map(([name, value]) => ({ name, value }));
    const of = told(() => ({ permitted: production.permitHeaders(headers) }));
    assert.deepEqual(of, expected(case_, ['code', 'permitted']), JSON.stringify(case_));
  }
});

test('a refusal does not repeat what was refused', () => {
  assert.throws(() => production.permit('GET', 'https://evil.example/?token=hunter2', false), (error) => !/hunter2|evil/.test(error.message));
});

test('no secret is filled in where none is handed out', () => {
  const fields = [
    { name: 'grant_type', value: { tag: 'text', val: 'a b&c' } },
    { name: 'client_secret', value: { tag: 'client-secret' } },
  ];
  assert.equal(encoded(fields, new Secret('d e&f')).toString(), 'grant_type=a+b%26c&client_secret=d+e%26f');
  assert.deepEqual(told(() => encoded(fields, undefined)), { code: 'secret-not-permitted' });
});

test('no flood of headers', () => {
  const flood = Array.from({ length: 40_000 }, (_, n) => ({ name: `a${n}`, value: 'b' }));
  assert.deepEqual(told(() => production.permitHeaders(flood)), { code: 'invalid-request' });
});
