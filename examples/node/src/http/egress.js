/**
 * The egress policy: where a connection's requests may go, and what they may carry there. The tables stand at the top of
 * `lending/src/egress.rs`; this is the same policy, and `tests/conformance/egress.json` has the cases that both are tested with.
 */
import { refusal } from './failure.js';

/** @typedef {'production' | 'sandbox' | 'monthly-sandbox' | 'federal'} Environment */

/** @type {Record<Environment, { login: string, api: string[] }>} */
const HOSTS = {
  production: { login: 'login.procore.com', api: ['api.procore.com'] },
  sandbox: { login: 'login-sandbox.procore.com', api: ['sandbox.procore.com'] },
  'monthly-sandbox': {
    login: 'login-sandbox-monthly.procore.com',
    api: ['monthly-sandbox.procore.com', 'api-monthly.procore.com'],
  },
  federal: { login: 'login.procoregov.com', api: ['api.procoregov.com'] },
};

export const ENVIRONMENTS = Object.keys(HOSTS);

/** The path of the probe that tells what a token is, and spends nothing. */
const TOKEN_INFO_PATH = '/oauth/token/info';

/** Where tokens come from, and where they are revoked: these forms carry the client secret, and no others. */
const SECRET_PATHS = new Set(['/oauth/token', '/oauth/revoke']);

/** `CONNECT` and `TRACE` are left out: the one opens a tunnel, the other echoes `authorization`. */
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** What belongs to the host or to the connection. */
const RESERVED =
  /^(host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|user-agent|proxy-.*)$/;

/** RFC 9110, section 5.1. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** Visible ASCII, spaces and tabs: no CR, LF or NUL. */
const VALUE = /^[\t\x20-\x7e]*$/;
/** What reads the same to every parser: visible ASCII without `\`. */
const PLAIN = /^[\x21-\x5b\x5d-\x7e]*$/;
/** A name, an address or a port, and nothing that needs decoding. */
const PLAIN_AUTHORITY = /^[0-9A-Za-z_.:[\]-]*$/;
const ADDRESS = /^(\[.*\]|\d+\.\d+\.\d+\.\d+)$/;

const MAX_HEADERS = 1000;

/**
 * Tells whether a header belongs to the host or to the connection.
 * @param {string} name
 */
export const isReserved = (name) => RESERVED.test(name.toLowerCase());

/**
 * Where a permitted request goes.
 * @typedef {'login' | 'api' | 'token-info-probe'} Destination
 */

/** The policy of one connection. */
export class Egress {
  #login;
  #api;
  #probes;

  /**
   * @param {Environment} environment
   * @param {{ tokenInfoProbes?: boolean }} [options] whether to permit to ask every environment what a token is: for a diagnosis only
   */
  constructor(environment, { tokenInfoProbes = false } = {}) {
    this.#login = HOSTS[environment].login;
    this.#api = HOSTS[environment].api;
    this.#probes = tokenInfoProbes;
  }

  /**
   * Checks a request line. Send the URL that comes back, not the text: what was checked is what is sent.
   * @param {string} method
   * @param {string} text
   * @param {boolean} usesSecret whether the body is to hold the client secret
   * @returns {{ url: URL, destination: Destination }}
   */
  permit(method, text, usesSecret) {
    if (!METHODS.has(method)) {
      throw refusal('invalid-request', `the method is not one of ${[...METHODS].join(', ')}`);
    }
    const url = plainUrl(text);
    const destination = this.#destination(method, url);
    if (usesSecret && !(destination === 'login' && takesSecret(method, url))) {
      throw refusal('secret-not-permitted', "the client secret is sent in a POST to the connection's token or revocation endpoint only");
    }
    return { url, destination };
  }

  /**
   * Checks the headers that the plugin asks for; returns them with names in lower case.
   * @param {{ name: string, value: string }[]} headers
   */
  permitHeaders(headers) {
    if (headers.length > MAX_HEADERS) throw refusal('invalid-request', 'there are too many headers');
    const permitted = headers.map(permittedHeader);
    if (permitted.filter(([name]) => name === 'authorization').length > 1) {
      throw refusal('invalid-request', 'there is more than one authorization header');
    }
    return permitted;
  }

  #destination(method, url) {
    if (url.hostname === this.#login) return 'login';
    if (this.#api.includes(url.hostname)) return 'api';
    if (this.#probes && isTokenInfoProbe(method, url)) return 'token-info-probe';
    throw notPermitted("the URL's origin is neither the connection's login origin nor its API origin");
  }
}

function isTokenInfoProbe(method, url) {
  const isLogin = Object.values(HOSTS).some(({ login }) => login === url.hostname);
  return isLogin && method === 'GET' && url.pathname === TOKEN_INFO_PATH && hasNoQuery(url);
}

function takesSecret(method, url) {
  return method === 'POST' && SECRET_PATHS.has(url.pathname) && hasNoQuery(url);
}

/** `search` is empty for an empty query, too. */
function hasNoQuery(url) {
  return !url.href.includes('?');
}

/** Parses a URL that reads the same to every parser. */
function plainUrl(text) {
  const malformed = () => refusal('invalid-request', 'the URL is not an absolute URL in plain ASCII');
  const [, scheme, authority, rest] = /^([^:/?#]*):\/\/([^/?#]*)(.*)$/s.exec(text) ?? [];
  if (scheme === undefined || !PLAIN.test(text)) throw malformed();
  if (authority.includes('@')) throw notPermitted('the URL has user information');
  // Looked at as written: a parser would decode escapes in a host.
  if (!PLAIN_AUTHORITY.test(authority)) throw malformed();
  const host = authority.toLowerCase();
  const written = `${scheme}://${host}${rest}`;
  if (!URL.canParse(written)) throw malformed();
  const url = new URL(written);
  if (url.protocol !== 'https:') throw notPermitted("the URL's scheme is not https");
  if (written.includes('#')) throw refusal('invalid-request', 'the URL has a fragment');
  if (ADDRESS.test(url.hostname)) throw notPermitted("the URL's host is an address, not a name");
  if (url.port !== '') throw notPermitted('the URL names a port');
  if (url.hostname.endsWith('.')) throw notPermitted("the URL's host ends with a dot");
  if (host.replace(/:443$/, '') !== url.hostname) throw malformed();
  return url;
}

function permittedHeader({ name, value }) {
  if (!TOKEN.test(name)) throw refusal('invalid-request', "a header's name is not a token");
  const lower = name.toLowerCase();
  if (RESERVED.test(lower)) throw refusal('invalid-request', "a header is the host's to set");
  if (!VALUE.test(value)) {
    throw refusal('invalid-request', "a header's value has a character that is not permitted");
  }
  return [lower, value];
}

function notPermitted(message) {
  return refusal('origin-not-permitted', message);
}
