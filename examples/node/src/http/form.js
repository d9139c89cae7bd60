import { refusal } from './failure.js';

/** What the contract calls the value that the host fills in. */
const CLIENT_SECRET = 'client-secret';

/**
 * Tells whether a body is to hold the client secret.
 * @param {{ tag: string, val?: any }} body
 */
export function asksForSecret(body) {
  return body.tag === 'form' && body.val.some(({ value }) => value.tag === CLIENT_SECRET);
}

/**
 * Encodes a form; `secret` is `undefined` where it must not be sent.
 * @param {{ name: string, value: { tag: string, val?: string } }[]} fields
 * @param {import('../secret.js').Secret | undefined} secret
 */
export function encoded(fields, secret) {
  const form = new URLSearchParams();
  for (const { name, value } of fields) {
    if (value.tag !== CLIENT_SECRET) {
      form.append(name, value.val);
    } else if (secret !== undefined) {
      form.append(name, secret.expose());
    } else {
      throw refusal('secret-not-permitted', 'the client secret goes to the login origin only');
    }
  }
  return Buffer.from(form.toString());
}
