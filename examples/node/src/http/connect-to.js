/**
 * Connects to another address than a host's own, as `curl --connect-to` does: for tests. `login.procore.com:443=127.0.0.1:8443` means
 * TLS as usual, with the name `login.procore.com`, to that address. The certificate must still bear the true name.
 */
import { isIP } from 'node:net';

import { misconfigured } from '../error.js';

/**
 * Reads overrides into a map from `host:port` to an address.
 * @param {string[]} texts
 * @returns {Map<string, { hostname: string, port: string }>}
 */
export function parseConnectTo(texts) {
  return new Map(texts.map(parse).reverse());
}

function parse(text) {
  const [, from, address, port] = /^([a-z0-9._-]+:\d+)=\[?([0-9a-f.:]+?)\]?:(\d+)$/i.exec(text) ?? [];
  if (from === undefined || isIP(address) === 0 || Number(port) === 0) {
    const remedy = 'Write it as `login.procore.com:443=127.0.0.1:8443`.';
    throw misconfigured('invalid-connect-to', `\`connectTo\` has no override in ${JSON.stringify(text)}.`, remedy);
  }
  return [from.toLowerCase(), { hostname: address, port }];
}
