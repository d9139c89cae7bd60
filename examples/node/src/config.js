/**
 * The tool's configuration file: an agent in Node and `procore-auth` share one.
 *
 * Read are the keys that a host needs. What only the tool does (`alerts`, `metrics`, `export`, `fallback`) and which component it runs
 * (`plugin`) is left to it; `encryption` is refused, since this host cannot read an encrypted store.
 */
import { promises as fs } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { TomlError, parse } from 'smol-toml';

import { misconfigured } from './error.js';
import { referred } from './secret-reference.js';
import { DEFAULT_POLICY } from './settings.js';

const FILE_KEYS = ['state', 'journal', 'plugin', 'default_connection', 'network', 'encryption', 'metrics', 'alerts', 'connections'];
const NETWORK_KEYS = ['extra_ca', 'connect_to'];
const CONNECTION_KEYS = [
  'environment', 'client_id', 'client_secret', 'grant', 'redirect_uri', 'company_id', 'export', 'policy', 'encryption', 'fallback',
];

const SPANS = ['refreshJitter', 'tokenTimeout', 'lockWait', 'callTimeout', 'parkedAge'];
const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * What a configuration says about one connection. Paths are absolute.
 * @typedef {object} Config
 * @property {import('./settings.js').Settings} settings the client secret included, as a `Secret`
 * @property {string} state the folder of the stores
 * @property {string} journal the file of the journal
 * @property {string[]} extraCa the files of further certificate authorities
 * @property {string[]} connectTo overrides, as `parseConnectTo` reads them
 */

/**
 * Reads a configuration file. Errors are of the kind `configuration`, and repeat nothing that may be a secret.
 * @param {string} file
 * @param {string} [name] the connection's; the default one or the only one without it
 * @returns {Promise<Config>}
 */
export async function readConfig(file, name) {
  const refuse = (what) => misconfigured('config-invalid', `The configuration ${file} ${what}.`, 'Correct it: `procore-auth status` shows where.');
  const root = await tableOf(file, refuse);
  const folder = path.dirname(path.resolve(file));
  const resolve = (written) => {
    if (typeof written !== 'string') throw refuse('has a path that is no text');
    return path.resolve(folder, written.replace(/^~(?=\/|$)/, os.homedir()));
  };
  known(root, FILE_KEYS, 'at its top', refuse);
  const { network = {}, connections = {} } = root;
  known(network, NETWORK_KEYS, 'in `network`', refuse);
  if (!isTexts(network.connect_to ?? [])) throw refuse('has a `connect_to` that is no list of texts');
  const chosen = name ?? root.default_connection ?? only(Object.keys(connections), refuse);
  if (!Object.hasOwn(connections, chosen)) throw refuse(`has no connection ${JSON.stringify(chosen)}`);
  const table = connections[chosen];
  known(table, CONNECTION_KEYS, `in the connection ${chosen}`, refuse);
  if (root.encryption !== undefined || table.encryption !== undefined) throw refuse('asks for an encrypted store, which this host cannot read');
  const state = root.state === undefined ? defaultState() : resolve(root.state);
  return {
    settings: await settingsOf(chosen, table, folder, refuse),
    state,
    journal: root.journal === undefined ? path.join(state, 'journal.jsonl') : resolve(root.journal),
    extraCa: network.extra_ca === undefined ? [] : [resolve(network.extra_ca)],
    connectTo: network.connect_to ?? [],
  };
}

/** Whoever can write it names the programs that the tool runs, and where this host connects to. */
async function tableOf(file, refuse) {
  let text;
  try {
    const { mode } = await fs.stat(file);
    if (mode & 0o002) throw misconfigured('insecure-permissions', `Everybody can write the configuration ${file}.`, `Run: chmod o-w ${JSON.stringify(file)}`);
    text = await fs.readFile(file, 'utf8');
  } catch (error) {
    if (error.code === 'insecure-permissions') throw error;
    const code = error.code === 'ENOENT' ? 'config-missing' : 'config-unreadable';
    throw misconfigured(code, `The configuration ${file} cannot be read: ${error.code}.`, 'Name another file, or mend this one.');
  }
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    // The message shows the line, which may hold a secret.
    throw refuse(`is not TOML, at line ${error.line}, column ${error.column}`);
  }
}

async function settingsOf(name, table, folder, refuse) {
  const { environment, client_id, client_secret, grant, redirect_uri, company_id, policy = {} } = table;
  if (grant !== 'authorization-code' && grant !== 'client-credentials') throw refuse(`has no \`grant\` of ${name} that is authorization-code or client-credentials`);
  if ((grant === 'authorization-code') !== (redirect_uri !== undefined)) throw refuse(`has a \`redirect_uri\` of ${name} that does not go with its \`grant\``);
  const isWritten = ['string', 'number'].includes(typeof client_id);
  return {
    name,
    environment,
    clientId: isWritten ? String(client_id) : (await referred(client_id, folder)).expose(),
    // In a keyring it cannot be read here.
    clientSecret: await referred(client_secret?.keyring === undefined ? client_secret : client_secret.or, folder),
    redirectUri: redirect_uri,
    companyId: company_id,
    policy: policyOf(policy, refuse),
  };
}

function policyOf(table, refuse) {
  const names = new Map(Object.keys(DEFAULT_POLICY).map((name) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), name]));
  known(table, [...names.keys()], 'in a policy', refuse);
  const entries = Object.entries(table).map(([key, value]) => {
    const name = names.get(key);
    return [name, SPANS.includes(name) ? span(key, value, refuse) : value];
  });
  return Object.fromEntries(entries);
}

/** `"30s"`, `"1h 30m"` or `"7d"`. What else the tool reads is refused, and not misread. */
function span(key, text, refuse) {
  if (!/^(\d+(ms|s|m|h|d)\s*)+$/.test(text)) throw refuse(`has a \`${key}\` that is no span of time such as "30s", "60m" or "7d"`);
  return [...text.matchAll(/(\d+)(ms|s|m|h|d)/g)].reduce((sum, [, count, unit]) => sum + Number(count) * UNITS[unit], 0);
}

function known(table, keys, where, refuse) {
  if (table === null || typeof table !== 'object' || Array.isArray(table)) throw refuse(`has no table ${where}`);
  const other = Object.keys(table).find((key) => !keys.includes(key));
  if (other !== undefined) throw refuse(`has the unknown key ${JSON.stringify(other)} ${where}`);
}

function isTexts(value) {
  return Array.isArray(value) && value.every((text) => typeof text === 'string');
}

function only(names, refuse) {
  if (names.length === 1) return names[0];
  throw refuse(`has ${names.length} connections; name one of them`);
}

/** By the XDG base directory specification, which has relative values ignored. */
function defaultState() {
  const base = process.env.XDG_STATE_HOME ?? '';
  return path.join(path.isAbsolute(base) ? base : path.join(os.homedir(), '.local/state'), 'procore-auth');
}
