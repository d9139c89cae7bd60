/** Checks what a caller gives, before the plugin is called: a mistake here is the caller's, and not a fault of the plugin's. */
import { invalidInput } from './error.js';
import { isReserved } from './http/egress.js';
import { Secret } from './secret.js';
import { isCount } from './settings.js';

const OPTIONS = ['headers', 'body', 'json', 'companyId', 'timeout', 'idempotent', 'park', 'orderKey'];

/**
 * Checks a request; returns its headers as pairs, and its body as bytes or a text.
 * @param {unknown} method
 * @param {unknown} path
 * @param {any} options
 * @returns {{ headers: [string, string][], body: string | Uint8Array | undefined }}
 */
export function checkedRequest(method, path, options) {
  check(isText(method), 'The method is a text.');
  check(isText(path), 'The path is a text.');
  check(options !== null && typeof options === 'object', 'The options are an object.');
  for (const name of Object.keys(options)) check(OPTIONS.includes(name), `There is no option \`${name}\`: there are ${OPTIONS.join(', ')}.`);
  const { companyId, timeout, idempotent, park, orderKey } = options;
  check(companyId === undefined || isCount(companyId), '`companyId` is the number of a company.');
  check(timeout === undefined || isCount(timeout), '`timeout` is a whole number of milliseconds.');
  check(idempotent === undefined || typeof idempotent === 'boolean', '`idempotent` is true or false.');
  check(park === undefined || typeof park === 'boolean', '`park` is true or false.');
  check(orderKey === undefined || isText(orderKey), '`orderKey` is a text.');
  return { headers: checkedHeaders(options.headers ?? {}), body: checkedBody(options) };
}

/** Does not repeat a value: it may be a secret. */
function checkedHeaders(headers) {
  check(typeof headers === 'object', '`headers` is an object of names and values.');
  const pairs = headers instanceof Headers ? [...headers] : Object.entries(headers);
  for (const [name, value] of pairs) {
    check(isText(value), `The value of the header ${JSON.stringify(name)} is not a text.`);
    check(!isReserved(name), `The header ${name} is set by the host itself.`);
  }
  return pairs;
}

function checkedBody({ body, json }) {
  check(body === undefined || json === undefined, 'There is `body` or `json`, and not both.');
  if (json !== undefined) return asJson(json);
  check(body === undefined || isText(body) || body instanceof Uint8Array, '`body` is a text or a `Uint8Array`.');
  return body;
}

function asJson(value) {
  let text;
  try {
    text = JSON.stringify(value);
  } catch {
    // Its message can quote the value.
  }
  check(text !== undefined, '`json` cannot be written as JSON.');
  return text;
}

/**
 * Returns the text of a secret that is a text or a `Secret`.
 * @param {unknown} secret
 * @param {string} name what it is called in a message
 */
export function secretText(secret, name) {
  check(isText(secret) || secret instanceof Secret, `${name} is a text or a \`Secret\`.`);
  return Secret.of(secret).expose();
}

/**
 * Refuses what is not as the sentence says.
 * @param {boolean} isFit
 * @param {string} sentence holds nothing of the value
 */
export function check(isFit, sentence) {
  if (!isFit) throw invalidInput('invalid-request', sentence);
}

/** @param {unknown} value */
export const isText = (value) => typeof value === 'string';
