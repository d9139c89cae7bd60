import assert from 'node:assert/strict';
import test from 'node:test';

import { Egress } from '../src/http/egress.js';
import { encoded } from '../src/http/form.js';
import { Secret } from '../src/index.js';

const production = new Egress('production');

const codeOf = (work) => {
  try {
    work();
  } catch (error) {
    assert.equal(error.sent, false);
    return error.code;
  }
  return undefined;
};
const get = (url, egress = production) => codeOf(() => egress.permit('GET', url, false));

test('permits its own origins', () => {
  for (const [url, destination] of [
    ['https://login.procore.com/oauth/token', 'login'],
    ['https://login.procore.com', 'login'],
    ['https://login.procore.com?a=b', 'login'],
    ['https://api.procore.com/rest/v1.0/me?a=b%20c', 'api'],
    ['https://api.procore.com:443/', 'api'],
    ['HTTPS://API.Procore.COM/', 'api'],
    ['https://api.procore.com/a@b:c/..//d', 'api'],
  ]) {
    assert.equal(production.permit('GET', url, false).destination, destination, url);
  }
  const monthly = new Egress('monthly-sandbox');
  for (const host of ['monthly-sandbox.procore.com', 'api-monthly.procore.com']) {
    assert.equal(monthly.permit('GET', `https://${host}/`, false).destination, 'api');
  }
});

test('refuses every other origin, however it is written', () => {
  for (const url of [
    'https://evil.example/',
    'https://sandbox.procore.com/',
    'https://api.procore.com.evil.example/',
    'https://xapi.procore.com/',
    'http://api.procore.com/',
    'ftp://api.procore.com/',
    'https://api.procore.com:444/',
    'https://api.procore.com:80/',
    'https://api.procore.com./',
    'https://user@api.procore.com/',
    'https://api.procore.com@evil.example/',
    'https://user:pass@api.procore.com/',
    'https://127.0.0.1/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::1]/',
  ]) {
    assert.equal(get(url), 'origin-not-permitted', url);
  }
});

test('refuses what parsers read differently', () => {
  for (const url of [
    '',
    '/rest/v1.0/me',
    '//api.procore.com/',
    'https:api.procore.com/',
    'https:/api.procore.com/',
    'https:///api.procore.com/',
    'https://api.procore.com\\@evil.example/',
    'https://evil.example\\.api.procore.com/',
    'https://api%2eprocore.com/',
    'https://ａpi.procore.com/',
    'https://api.procore.com/ä',
    'https://api.procore.com/a b',
    'https://api.procore.com/\n',
    ' https://api.procore.com/',
    'https://api.procore.com/#fragment',
    'https://api.procore.com/#',
  ]) {
    assert.equal(get(url), 'invalid-request', url);
  }
});

test('a refusal does not repeat what was refused', () => {
  assert.throws(() => production.permit('GET', 'https://evil.example/?token=hunter2', false), (error) => !/hunter2|evil/.test(error.message));
});

test('only known methods, in capitals', () => {
  for (const method of ['CONNECT', 'TRACE', 'get', 'GET ', '', 'PURGE', 'G\r\nET']) {
    assert.equal(codeOf(() => production.permit(method, 'https://api.procore.com/', false)), 'invalid-request', method);
  }
});

test('the client secret goes to the login origin only', () => {
  const permit = (url) => codeOf(() => production.permit('POST', url, true));
  assert.equal(permit('https://login.procore.com/oauth/token'), undefined);
  assert.equal(permit('https://api.procore.com/oauth/token'), 'secret-not-permitted');
  const fields = [
    { name: 'grant_type', value: { tag: 'text', val: 'a b&c' } },
    { name: 'client_secret', value: { tag: 'client-secret' } },
  ];
  assert.equal(encoded(fields, new Secret('d e&f')).toString(), 'grant_type=a+b%26c&client_secret=d+e%26f');
  assert.equal(codeOf(() => encoded(fields, undefined)), 'secret-not-permitted');
});

test('another environment is asked what a token is during a diagnosis, and nothing else', () => {
  const probing = new Egress('production', { tokenInfoProbes: true });
  const url = 'https://login-sandbox.procore.com/oauth/token/info';
  assert.equal(probing.permit('GET', url, false).destination, 'token-info-probe');
  assert.equal(get(url), 'origin-not-permitted');
  assert.equal(codeOf(() => probing.permit('POST', url, false)), 'origin-not-permitted');
  for (const other of [`${url}?`, `${url}?a=b`, 'https://login-sandbox.procore.com/oauth/token', 'https://sandbox.procore.com/oauth/token/info']) {
    assert.equal(get(other, probing), 'origin-not-permitted', other);
  }
});

test('headers cannot be injected, and the host keeps its own', () => {
  const check = (name, value) => codeOf(() => production.permitHeaders([{ name, value }]));
  for (const name of ['Host', 'content-length', 'Transfer-Encoding', 'connection', 'proxy-authorization', 'Proxy-X', 'te', 'upgrade', 'expect', 'User-Agent', 'keep-alive', 'trailer']) {
    assert.equal(check(name, 'a'), 'invalid-request', name);
  }
  for (const name of ['', 'a b', 'a:b', 'a\r\nb', 'ä', 'a\0']) {
    assert.equal(check(name, 'a'), 'invalid-request', name);
  }
  for (const value of ['a\r\nb: c', 'a\nb', 'a\0', 'a\rb', 'ä', '\u{7f}']) {
    assert.equal(check('accept', value), 'invalid-request', value);
  }
  assert.deepEqual(production.permitHeaders([{ name: 'Accept', value: 'a\tb' }]), [['accept', 'a\tb']]);
});

test('one authorization header at most, and no flood of headers', () => {
  const twice = ['authorization', 'Authorization'].map((name) => ({ name, value: 'a' }));
  assert.equal(codeOf(() => production.permitHeaders(twice)), 'invalid-request');
  const flood = Array.from({ length: 40_000 }, (_, n) => ({ name: `a${n}`, value: 'b' }));
  assert.equal(codeOf(() => production.permitHeaders(flood)), 'invalid-request');
});
