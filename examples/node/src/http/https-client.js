/**
 * The HTTPS client that is lent by default: undici, HTTP/1.1 over TLS.
 *
 * A request is written to one connection, once: nothing is followed and nothing is resent. `POST` and `PATCH` get a connection of
 * their own, since an idle one may be dead without either side knowing. `sent` is `false` only where the request had not begun to be
 * written. The proxies that `HTTPS_PROXY` and `NO_PROXY` name are used. Keeps no cookies and decompresses nothing.
 *
 * Certificates are checked whatever the environment says: `NODE_TLS_REJECT_UNAUTHORIZED` is not heard.
 */
import { readFileSync } from 'node:fs';
import tls from 'node:tls';

import { Agent, DecoratorHandler, EnvHttpProxyAgent, buildConnector } from 'undici';

import { HttpFailure } from './failure.js';

const USER_AGENT = 'procore-auth-node/0.1.0';

/** How long resolving, connecting and the handshake may take together, in milliseconds. */
const CONNECT_TIMEOUT = 10_000;

/** How long an idle connection is kept for reuse. Shorter than any server's patience. */
const IDLE = 30_000;

const NOT_IDEMPOTENT = new Set(['POST', 'PATCH']);

/**
 * What an HTTP client is asked for. The egress policy has been applied, and the client secret has been filled in: it only carries
 * out. It must not follow redirects, repeat a request, or log a URL's query, a header or a body.
 * @typedef {object} HttpRequest
 * @property {string} method
 * @property {URL} url
 * @property {[string, string][]} headers
 * @property {Uint8Array} body
 */

/** @typedef {{ status: number, headers: { name: string, value: string }[], body: Uint8Array }} HttpReply */

export class HttpsClient {
  #connectTo;
  #reusing;
  #fresh;
  #direct;

  /**
   * @param {object} [options]
   * @param {Buffer[]} [options.extraCa] certificate authorities to trust too, in PEM
   * @param {ReturnType<typeof import('./connect-to.js').parseConnectTo>} [options.connectTo]
   */
  constructor({ extraCa = [], connectTo = new Map() } = {}) {
    const trust = extraCa.length === 0 ? {} : { ca: [...defaultRoots(), ...extraCa] };
    const checked = { ...trust, rejectUnauthorized: true };
    const connect = { ...checked, timeout: CONNECT_TIMEOUT };
    // No time limits of its own: each request has its deadline.
    const common = { connect, allowH2: false, headersTimeout: 0, bodyTimeout: 0, keepAliveTimeout: IDLE };
    const proxied = { ...common, requestTls: connect, proxyTls: checked };
    this.#connectTo = connectTo;
    this.#reusing = new EnvHttpProxyAgent(proxied);
    this.#fresh = new EnvHttpProxyAgent({ ...proxied, pipelining: 0 });
    // Overridden hosts are connected to past every proxy.
    this.#direct = new Agent({ ...common, pipelining: 0, connect: overriding(connectTo, connect) });
  }

  /**
   * Sends a request, and reads the whole reply. Every status is a reply. Fails with an {@link HttpFailure}.
   * @param {HttpRequest} request
   * @param {{ timeout: number, replySize: number }} limits in milliseconds and bytes
   * @returns {Promise<HttpReply>}
   */
  async send(request, { timeout, replySize }) {
    const dispatcher = this.#dispatcher(request);
    const watch = { begun: false };
    const deadline = new AbortController();
    let timer;
    // undici notices an abort once it is connected; a request that was aborted before that is never written.
    const timeIsUp = new Promise((_, reject) => {
      timer = setTimeout(() => {
        deadline.abort();
        reject(outOfTime(request.url.hostname, watch.begun, timeout));
      }, timeout);
    });
    try {
      return await Promise.race([exchange(watched(dispatcher, watch), request, deadline.signal, replySize), timeIsUp]);
    } catch (error) {
      throw failureOf(error, request.url.hostname, watch.begun);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Closes the idle connections. */
  async close() {
    await Promise.all([this.#reusing, this.#fresh, this.#direct].map((agent) => agent.destroy()));
  }

  #dispatcher({ method, url }) {
    if (this.#connectTo.has(`${url.hostname}:443`)) return this.#direct;
    return NOT_IDEMPOTENT.has(method) ? this.#fresh : this.#reusing;
  }
}

async function exchange(dispatcher, { method, url, headers, body }, signal, replySize) {
  const isSent = body.length > 0 || NOT_IDEMPOTENT.has(method);
  const reply = await dispatcher.request({
    origin: url.origin,
    path: url.pathname + url.search,
    method,
    headers: [...headers, ['user-agent', USER_AGENT]].flat(),
    body: isSent ? body : null,
    signal,
    responseHeaders: 'raw',
  });
  if (hasBody(method, reply) && announced(reply) > replySize) {
    // Closes the connection, which is told as an error.
    reply.body.on('error', () => {}).destroy();
    throw tooLarge(url.hostname, replySize);
  }
  const chunks = [];
  let size = 0;
  for await (const chunk of reply.body) {
    size += chunk.length;
    // Leaving the loop closes the connection.
    if (size > replySize) throw tooLarge(url.hostname, replySize);
    chunks.push(chunk);
  }
  return { status: reply.statusCode, headers: pairs(reply.headers), body: Buffer.concat(chunks) };
}

/** RFC 9110, section 6.4.1: these may say how long a body would be, and have none. */
function hasBody(method, { statusCode }) {
  return method !== 'HEAD' && statusCode !== 204 && statusCode !== 304;
}

/** How long a reply says that its body is; 0 where it does not. */
function announced(reply) {
  const length = pairs(reply.headers).find(({ name }) => name === 'content-length');
  return Number(length?.value ?? 0);
}

function watched(dispatcher, watch) {
  return dispatcher.compose((dispatch) => (options, handler) => dispatch(options, new Watching(handler, watch)));
}

/** Notes when a request begins to be written. */
class Watching extends DecoratorHandler {
  #watch;

  constructor(handler, watch) {
    super(handler);
    this.#watch = watch;
  }

  onRequestStart(controller, context) {
    this.#watch.begun = true;
    super.onRequestStart(controller, context);
  }
}

/** Keeps the true name in `Host` and in the handshake, and connects elsewhere. */
function overriding(connectTo, options) {
  const connect = buildConnector(options);
  return (target, callback) => {
    const host = target.hostname;
    const address = connectTo.get(`${host}:${target.port || 443}`);
    connect({ ...target, ...address, host, servername: host }, callback);
  };
}

function outOfTime(host, begun, timeout) {
  const what = begun ? 'whole reply' : 'connection';
  return new HttpFailure('timeout', `${host}: no ${what} within ${timeout} ms`, begun);
}

function failureOf(error, host, begun) {
  if (error instanceof HttpFailure) return error;
  const code = begun ? codeOfExchange(error) : codeOfConnecting(error);
  // Of a system error or undici: neither quotes the request.
  return new HttpFailure(code, `${host}: ${error.code ?? error.name}: ${error.message}`, begun);
}

function codeOfConnecting({ code = '', message = '' }) {
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'dns';
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') return 'timeout';
  if (code === 'UND_ERR_INVALID_ARG') return 'invalid-request';
  if (/proxy/i.test(message)) return 'proxy';
  if (/CERT|SSL|TLS|SIGNED|VERIFY|EPROTO|ISSUER/.test(code) || /TLS/.test(message)) return 'tls';
  return 'connect';
}

function codeOfExchange({ code = '' }) {
  if (code === 'UND_ERR_HEADERS_OVERFLOW') return 'reply-too-large';
  return code.startsWith('HPE_') ? 'invalid-reply' : 'connection-closed';
}

function tooLarge(host, limit) {
  return new HttpFailure('reply-too-large', `${host}: the reply is longer than ${limit} bytes`, true);
}

/** Names and values come in turns, as bytes. */
function pairs(raw) {
  const texts = raw.map((bytes) => Buffer.from(bytes).toString('utf8'));
  return Array.from({ length: texts.length / 2 }, (_, index) => ({
    name: texts[2 * index].toLowerCase(),
    value: texts[2 * index + 1],
  }));
}

/** What Node trusts by default: naming further roots would otherwise replace them. */
function defaultRoots() {
  if (typeof tls.getCACertificates === 'function') return tls.getCACertificates('default');
  const extra = process.env.NODE_EXTRA_CA_CERTS;
  return extra ? [...tls.rootCertificates, readFileSync(extra)] : tls.rootCertificates;
}
