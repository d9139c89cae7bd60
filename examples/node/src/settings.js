import { createHash } from 'node:crypto';

import { NAME_RULE, isConnectionName } from './connection-name.js';
import { misconfigured } from './error.js';
import { ENVIRONMENTS } from './http/egress.js';
import { Secret } from './secret.js';

/**
 * One connection: one environment, one client id, one user or service account.
 * @typedef {object} Settings
 * @property {string} name for messages and for its folder in the store
 * @property {'production' | 'sandbox' | 'monthly-sandbox' | 'federal'} environment
 * @property {string} clientId
 * @property {string | Secret} clientSecret stays in this host
 * @property {string} [redirectUri] exactly as registered in the developer portal; without it the connection is a service account's
 *   (client credentials)
 * @property {number} [companyId] the company that calls are for, where the caller names none
 * @property {Partial<Policy>} [policy]
 */

/**
 * The numbers of the token policy, in milliseconds and bytes.
 * @typedef {object} Policy
 * @property {number} refreshPercent when to refresh, in per cent of the lifetime that the server gave
 * @property {number} refreshJitter the most by which a refresh is moved forward at random
 * @property {number} tokenTimeout how long one request to the token endpoint may take
 * @property {number} lockWait how long to wait for the connection's lock; longer than `tokenTimeout`
 * @property {number} callTimeout how long one API call may take, all attempts together
 * @property {number} parkedCount the most requests that may be parked
 * @property {number} parkedBytes the most bytes that they may take
 * @property {number} parkedAge how old one may become
 * @property {boolean} pkce whether to send a PKCE challenge
 */

/** @type {Policy} */
export const DEFAULT_POLICY = Object.freeze({
  refreshPercent: 80,
  refreshJitter: 30_000,
  tokenTimeout: 30_000,
  lockWait: 45_000,
  callTimeout: 60_000,
  parkedCount: 1000,
  parkedBytes: 64 * 2 ** 20,
  parkedAge: 7 * 24 * 3_600_000,
  pkce: false,
});

const NAMES = ['name', 'environment', 'clientId', 'clientSecret', 'redirectUri', 'companyId', 'policy'];

/** The bounds within which a connection survives, as the tool's configuration has them: a lower timeout spends refresh tokens unheard. */
const LEAST = { tokenTimeout: 5000, callTimeout: 1000, parkedCount: 1, parkedBytes: 1024, parkedAge: 60_000 };

/**
 * Checks the settings, and fills in the defaults.
 * @param {Settings} settings
 * @returns {Settings & { clientSecret: Secret, policy: Policy }}
 */
export function checked(settings) {
  expect(settings !== null && typeof settings === 'object', 'settings', 'an object');
  expectKnown(settings, NAMES);
  const { name, environment, clientId, clientSecret, redirectUri, companyId } = settings;
  expect(isConnectionName(name), 'name', NAME_RULE);
  expect(ENVIRONMENTS.includes(environment), 'environment', `one of ${ENVIRONMENTS.join(', ')}`);
  expect(typeof clientId === 'string' && clientId !== '', 'clientId', 'the client id of the app');
  const isSecret = clientSecret instanceof Secret || (typeof clientSecret === 'string' && clientSecret !== '');
  expect(isSecret, 'clientSecret', 'the client secret of the app');
  expect(redirectUri === undefined || (typeof redirectUri === 'string' && redirectUri !== ''), 'redirectUri', 'the URI in the developer portal, or missing');
  expect(companyId === undefined || isCount(companyId), 'companyId', 'the number of a company, or missing');
  return { ...settings, clientSecret: Secret.of(clientSecret), policy: checkedPolicy(settings.policy) };
}

/**
 * Translates the settings for the plugin.
 * @param {ReturnType<typeof checked>} settings
 * @param {string} actor who acts, for records
 */
export function toContract({ name, environment, clientId, clientSecret, redirectUri, companyId, policy }, actor) {
  return {
    name,
    environment,
    clientId,
    secretFingerprint: fingerprint(clientSecret),
    grant: redirectUri === undefined ? { tag: 'client-credentials' } : { tag: 'authorization-code', val: redirectUri },
    companyId: companyId === undefined ? undefined : BigInt(companyId),
    actor,
    policy: {
      refreshPercent: policy.refreshPercent,
      refreshJitter: BigInt(policy.refreshJitter),
      tokenTimeout: BigInt(policy.tokenTimeout),
      lockWait: BigInt(policy.lockWait),
      callTimeout: BigInt(policy.callTimeout),
      parkedCount: policy.parkedCount,
      parkedBytes: BigInt(policy.parkedBytes),
      parkedAge: BigInt(policy.parkedAge),
      pkce: policy.pkce,
    },
  };
}

/**
 * Changes with the secret's bytes, and tells nothing else. The same as the Rust host's: hosts that share a store must agree.
 * @param {Secret} secret
 */
export function fingerprint(secret) {
  const label = 'procore-auth client secret fingerprint v1\0';
  return createHash('sha256').update(label).update(secret.expose()).digest('hex').slice(0, 16);
}

function checkedPolicy(given = {}) {
  expect(given !== null && typeof given === 'object', 'policy', 'an object');
  expectKnown(given, Object.keys(DEFAULT_POLICY), 'policy.');
  const policy = { ...DEFAULT_POLICY, ...given };
  for (const [name, value] of Object.entries(policy)) {
    if (name === 'pkce') expect(typeof value === 'boolean', 'policy.pkce', 'true or false');
    else expect(isCount(value), `policy.${name}`, 'a whole number');
  }
  for (const [name, least] of Object.entries(LEAST)) expect(policy[name] >= least, `policy.${name}`, `${least} or more`);
  expect(policy.refreshPercent >= 1 && policy.refreshPercent <= 99, 'policy.refreshPercent', '1 to 99');
  expect(policy.parkedCount < 2 ** 32, 'policy.parkedCount', 'less than 2³²');
  // A waiter must outlast the holder's request to the token endpoint, or it gives up on a refresh that is about to succeed.
  expect(policy.lockWait > policy.tokenTimeout, 'policy.lockWait', `longer than tokenTimeout, which is ${policy.tokenTimeout}`);
  return policy;
}

/**
 * Tells whether a value is a whole number that is not negative.
 * @param {unknown} value
 */
export function isCount(value) {
  return Number.isSafeInteger(value) && value >= 0;
}

/**
 * Refuses an object that has other keys than the known ones: a misspelt one would be as if it were missing.
 * @param {object} given
 * @param {string[]} known
 * @param {string} [prefix] how the object is called in messages
 */
export function expectKnown(given, known, prefix = '') {
  for (const name of Object.keys(given)) expect(known.includes(name), prefix + name, `one of ${known.join(', ')}`);
}

/**
 * Refuses a setting that is not fit.
 * @param {boolean} isFit
 * @param {string} name
 * @param {string} what what it is, in words
 */
export function expect(isFit, name, what) {
  if (!isFit) throw misconfigured('invalid-settings', `The setting \`${name}\` is not acceptable.`, `It is ${what}.`);
}
