#!/usr/bin/env node
/**
 * A small tool over the library: `node cli.js --settings settings.json (or --config FILE) token|status|verify|login|upkeep|call METHOD PATH|session VERB…`.
 *
 * `session` reads one such command a line from standard input, of the named verbs only, and answers each with a line of JSON
 * that has its number. The client secret comes from where `clientSecret` of the settings says, `{ "file": PATH }` or `{ "env": NAME }`, and
 * without it from the environment variable `PROCORE_CLIENT_SECRET`. SIGINT and SIGTERM end it once what runs is saved; a second one, at once.
 *
 * Exit codes are those of `procore-auth`: 0 done, 1 refused, 2 wrong use, 3 configuration, 4 sign in, 5 unavailable, 6 busy, 7 storage,
 * 8 unknown outcome, 9 a defect, 10 parked, 11 at risk, 22 Procore's API said no.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { parseArgs } from 'node:util';

import { Connection, FileStore, HttpsClient, JsonLinesJournal, Plugin, ProcoreAuthError, parseConnectTo, readConfig } from './src/index.js';
import { referred } from './src/secret-reference.js';

const USAGE = 'usage: cli.js (--settings FILE | --config FILE [--connection NAME]) token | status | verify | login | upkeep | call METHOD PATH [--body FILE] [--park] | session VERB…';

const HELP = `--config names the configuration of procore-auth, in TOML. The settings are JSON: state, name, environment, clientId, clientSecret ({ "file": PATH } or { "env": NAME }; PROCORE_CLIENT_SECRET
without it), redirectUri, companyId, policy, limits, plugin ({ "folder": PATH, "sha256": DIGEST }), extraCa, connectTo. Paths are relative to
the file. Exit codes are those of procore-auth: see \`procore-auth --help\`.`;

const EXIT = {
  'invalid-input': 1,
  configuration: 3,
  'sign-in-required': 4,
  unavailable: 5,
  busy: 6,
  storage: 7,
  'unknown-outcome': 8,
  internal: 9,
};
const [DONE, REFUSED, WRONG_USE, DEFECT, PARKED, API_REFUSED] = [0, 1, 2, 9, 10, 22];

/** What `status` exits with, by the connection's health. */
const HEALTH = { healthy: DONE, unverified: 11, 'at-risk': 11, unavailable: 5, misconfigured: 3, 'sign-in-required': 4 };

function exitCode(verb, result) {
  if (verb === 'status') {
    const waits = result.parked + result.undecided > 0;
    return result.health === 'healthy' && waits ? PARKED : (HEALTH[result.health] ?? DEFECT);
  }
  if (verb !== 'call') return DONE;
  if (result.parked !== undefined) return PARKED;
  return result.status >= 400 ? API_REFUSED : DONE;
}

class Usage extends Error {}

/** What the shell reports for a program that ended by the signal. */
const SIGNALS = { SIGINT: 130, SIGTERM: 143 };

class Signalled extends Error {
  constructor(exitCode) {
    super();
    this.exitCode = exitCode;
  }
}

/** Fails with a {@link Signalled} once the process is asked to end. */
function signalled() {
  return new Promise((_, reject) => {
    for (const [signal, exitCode] of Object.entries(SIGNALS)) {
      process.once(signal, () => {
        console.error('stopping: a refresh that runs is finished first');
        // A session begins nothing new.
        process.stdin.destroy();
        reject(new Signalled(exitCode));
      });
    }
  });
}

/** Makes the connection of a settings file. Paths in it are relative to it. */
async function open(file) {
  const settings = JSON.parse(await readFile(file, 'utf8'));
  const { state, extraCa = [], connectTo = [], limits, plugin, clientSecret = { env: 'PROCORE_CLIENT_SECRET' }, ...connection } = settings;
  const folder = path.dirname(path.resolve(file));
  const root = path.resolve(folder, state);
  const certificates = await Promise.all(extraCa.map((name) => readFile(path.resolve(folder, name))));
  const http = new HttpsClient({ extraCa: certificates, connectTo: parseConnectTo(connectTo) });
  const store = await FileStore.open(root, connection.name);
  const capabilities = {
    plugin: await Plugin.load(plugin?.folder === undefined ? plugin : { ...plugin, folder: path.resolve(folder, plugin.folder) }),
    store,
    http,
    limits,
    journals: [new JsonLinesJournal(path.join(root, 'journal.jsonl'))],
  };
  return { connection: new Connection({ ...connection, clientSecret: await referred(clientSecret, folder) }, capabilities), http };
}

/** Makes a connection of the tool's configuration file. */
async function openConfigured(file, name) {
  const { settings, state, journal, extraCa, connectTo } = await readConfig(file, name);
  const certificates = await Promise.all(extraCa.map((path) => readFile(path)));
  const http = new HttpsClient({ extraCa: certificates, connectTo: parseConnectTo(connectTo) });
  const store = await FileStore.open(state, settings.name);
  const capabilities = { plugin: await Plugin.load(), store, http, journals: [new JsonLinesJournal(journal)] };
  return { connection: new Connection(settings, capabilities), http };
}

const VERBS = {
  token: async (connection) => {
    const token = await connection.storedAccessToken();
    return { bearer: token.bearer.expose(), refreshAt: token.refreshAt, expiresAt: token.expiresAt };
  },
  status: (connection) => connection.status(),
  verify: (connection) => connection.verify(),
  upkeep: (connection) => connection.upkeep(),
  login: async (connection) => {
    const login = await connection.beginLogin();
    const terminal = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await terminal.question(`Open ${login.authorizeUrl}\nPaste the address that the browser ends on, or the code: `);
    terminal.close();
    return connection.finishLogin(answer.trim());
  },
  call: async (connection, [method, target], { body, park }) => {
    if (target === undefined) throw new Usage(USAGE);
    const bytes = body === undefined ? undefined : await readFile(body);
    const outcome = await connection.request(method, target, { body: bytes, park });
    if (outcome.parked !== undefined) return { parked: outcome.parked };
    const { status, attempts, diagnosis } = outcome;
    return { status, attempts, diagnosis, body: outcome.text() };
  },
  session: async (connection, verbs) => {
    let line = 0;
    for await (const text of createInterface({ input: process.stdin })) {
      const [verb, ...words] = text.trim().split(/\s+/);
      if (!verbs.includes(verb)) throw new Usage(USAGE);
      line += 1;
      print({ line, ...(await answered(() => perform(connection, verb, words, {}))) });
    }
  },
};

function perform(connection, verb, words, options) {
  if (!Object.hasOwn(VERBS, verb ?? '')) throw new Usage(USAGE);
  return VERBS[verb](connection, words, options);
}

/** A session answers an error as it answers everything: with a line. */
async function answered(work) {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ProcoreAuthError) return { error: described(error) };
    throw error;
  }
}

function described({ kind, code, summary, cause, remedy, evidence, retryAt }) {
  return { kind, code, summary, cause, remedy, evidence, retryAt };
}

function print(value) {
  if (value !== undefined) console.log(JSON.stringify(value));
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      settings: { type: 'string' },
      config: { type: 'string' },
      connection: { type: 'string' },
      body: { type: 'string' },
      park: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) {
    console.log(`${USAGE}\n\n${HELP}`);
    return 0;
  }
  const [verb, ...words] = positionals;
  if ((values.settings === undefined) === (values.config === undefined) || !Object.hasOwn(VERBS, verb ?? '')) throw new Usage(USAGE);
  const { connection, http } = await (values.config === undefined ? open(values.settings) : openConfigured(values.config, values.connection));
  try {
    const result = await Promise.race([perform(connection, verb, words, values), signalled()]);
    print(result);
    return exitCode(verb, result);
  } finally {
    await connection.close();
    await http.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof Signalled) process.exit(error.exitCode);
  if (error instanceof ProcoreAuthError) {
    console.error(JSON.stringify({ error: described(error) }));
    process.exitCode = EXIT[error.kind];
  } else if (error instanceof Usage || error.code?.startsWith?.('ERR_PARSE_ARGS')) {
    console.error(error.message);
    process.exitCode = WRONG_USE;
  } else {
    // A code is the system's: a file that it does not give.
    console.error(error.code === undefined ? error.stack : `${error.code}: ${error.message}`);
    process.exitCode = error.code === undefined ? DEFECT : REFUSED;
  }
}
