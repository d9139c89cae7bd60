import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import test from 'node:test';

import { HttpsClient, parseConnectTo } from '../src/index.js';
import { proxyTo, tlsServer } from './tls-server.js';

const LIMITS = { timeout: 5000, replySize: 1000 };

/** A server on this machine that treats each connection so. */
async function serve(t, onConnection) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    onConnection(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server.address().port;
}

function clientTo(t, port, extraCa = []) {
  const client = new HttpsClient({ extraCa, connectTo: parseConnectTo([`api.procore.com:443=127.0.0.1:${port}`]) });
  t.after(() => client.close());
  return client;
}

const get = (client, limits = LIMITS, method = 'GET') =>
  client.send({ method, url: new URL('https://api.procore.com/?token=hunter2'), headers: [], body: new Uint8Array() }, limits);

test('a port that nobody listens on', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = clientTo(t, server.address().port);
  await new Promise((resolve) => server.close(resolve));
  await assert.rejects(get(client), { code: 'connect', sent: false, message: /^api\.procore\.com/ });
});

test('a server that does not speak TLS', async (t) => {
  const client = clientTo(t, await serve(t, (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n')));
  await assert.rejects(get(client), { code: 'tls', sent: false });
});

test('a server that says nothing', async (t) => {
  const client = clientTo(t, await serve(t, () => {}));
  await assert.rejects(get(client, { ...LIMITS, timeout: 100 }), { code: 'timeout', sent: false });
});

/** Sets a variable of the environment until the test ends. */
function setVariable(t, name, value) {
  const before = process.env[name];
  process.env[name] = value;
  t.after(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

test('no variable of the environment turns the check of certificates off', async (t) => {
  const server = await tlsServer(t, 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n');
  if (server === undefined) return;
  setVariable(t, 'NODE_TLS_REJECT_UNAUTHORIZED', '0');
  await assert.rejects(get(clientTo(t, server.port)), { code: 'tls', sent: false });
  setVariable(t, 'HTTPS_PROXY', `http://127.0.0.1:${await proxyTo(t, server.port)}`);
  const proxied = new HttpsClient();
  t.after(() => proxied.close());
  await assert.rejects(get(proxied), { code: 'tls', sent: false });
  assert.deepEqual(server.told, []);
  // The same server and the same proxy, trusted by name.
  const trusting = new HttpsClient({ extraCa: [server.ca] });
  t.after(() => trusting.close());
  assert.equal((await get(trusting)).status, 200);
});

test('a proxy that is spoken to over TLS is checked too', async (t) => {
  const server = await tlsServer(t, 'HTTP/1.1 200 Connection established\r\n\r\n');
  if (server === undefined) return;
  setVariable(t, 'NODE_TLS_REJECT_UNAUTHORIZED', '0');
  setVariable(t, 'HTTPS_PROXY', `https://user:hunter2@localhost:${server.port}`);
  const client = new HttpsClient();
  t.after(() => client.close());
  await assert.rejects(get(client, { ...LIMITS, timeout: 1000 }), { sent: false });
  assert.deepEqual(server.told, [], 'it heard the password of the proxy');
});

test('a reply that says it is too long is not waited for', async (t) => {
  const server = await tlsServer(t, 'HTTP/1.1 200 OK\r\ncontent-length: 99000000000\r\n\r\n');
  if (server === undefined) return;
  const client = clientTo(t, server.port, [server.ca]);
  await assert.rejects(get(client), { code: 'reply-too-large', sent: true });
  // What the length of a body would be is no body.
  assert.equal((await get(client, LIMITS, 'HEAD')).status, 200);
});

test('no failure repeats the query', async (t) => {
  const client = clientTo(t, await serve(t, (socket) => socket.destroy()));
  await assert.rejects(get(client), (error) => !/hunter2/.test(error.message + error.stack));
});

test('overrides that cannot be meant', () => {
  for (const text of ['', 'a=b', 'api.procore.com=127.0.0.1:1', 'api.procore.com:443=localhost:1', 'api.procore.com:443=127.0.0.1:0', 'api.procore.com:443=http://127.0.0.1:1']) {
    assert.throws(() => parseConnectTo([text]), { code: 'invalid-connect-to' }, text);
  }
  const first = parseConnectTo(['API.procore.com:443=[::1]:1', 'api.procore.com:443=127.0.0.1:2']).get('api.procore.com:443');
  assert.deepEqual(first, { hostname: '::1', port: '1' });
});
