import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';

import { folder } from './folder.js';

/** Makes a key and a certificate for `api.procore.com` that nobody has signed; `undefined` where there is no `openssl`. */
async function selfSigned(t) {
  const made = await folder(t);
  const [key, cert] = ['key.pem', 'cert.pem'].map((name) => path.join(made, name));
  const names = ['-subj', '/CN=api.procore.com', '-addext', 'subjectAltName=DNS:api.procore.com'];
  const options = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-keyout', key, '-out', cert];
  try {
    execFileSync('openssl', ['req', '-x509', ...options, ...names], { stdio: 'pipe' });
  } catch (error) {
    if (error.code !== 'ENOENT') throw error;
    t.skip('there is no openssl');
    return undefined;
  }
  return { key: await readFile(key), cert: await readFile(cert) };
}

/**
 * A server on this machine that calls itself `api.procore.com`, answers every request with `reply`, and notes what it was told. Skips the
 * test where none can be made.
 * @param {import('node:test').TestContext} t
 * @param {string} reply
 */
export async function tlsServer(t, reply) {
  const identity = await selfSigned(t);
  if (identity === undefined) return undefined;
  const told = [];
  const server = tls.createServer(identity, (socket) => {
    socket.on('data', (bytes) => {
      told.push(bytes.toString());
      socket.write(reply);
    });
  });
  return { port: await listen(t, server), ca: identity.cert, told };
}

/**
 * A proxy on this machine whose tunnels all end at `port`.
 * @param {import('node:test').TestContext} t
 * @param {number} port
 */
export function proxyTo(t, port) {
  const server = net.createServer((client) => {
    client.once('data', () => {
      const onwards = net.connect(port, '127.0.0.1');
      onwards.on('error', () => client.destroy());
      client.on('error', () => onwards.destroy());
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      client.pipe(onwards).pipe(client);
    });
  });
  return listen(t, server);
}

async function listen(t, server) {
  const sockets = new Set();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return server.address().port;
}
