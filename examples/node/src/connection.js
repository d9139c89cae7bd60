import os from 'node:os';

import { Answer } from './answer.js';
import { check, checkedRequest, isText, secretText } from './arguments.js';
import { Call } from './call.js';
import { checkedCapabilities } from './capabilities.js';
import { systemClock } from './clock.js';
import { ProcoreAuthError, internal, nameOf } from './error.js';
import { Egress } from './http/egress.js';
import { HttpsClient } from './http/https-client.js';
import { DEFAULT_LIMITS, withRoomFor } from './limits.js';
import { plain } from './plain.js';
import { Stopped } from './plugin/stopped.js';
import { Threads } from './plugin/threads.js';
import { Recorder } from './recorder.js';
import { Secret } from './secret.js';
import { checked, isCount, toContract } from './settings.js';
import { HoldingStore } from './store/holding-store.js';
import { PlainStore } from './store/plain-store.js';
import { AccessToken } from './token.js';
import { TokenCache } from './token-cache.js';
import { within } from './within.js';

/** How long after its deadline a call's caller gets an answer at the latest, in milliseconds. The time between is for saving. */
const GRACE = 10_000;

/** How a connection is that works, as far as the plugin knows. */
const WELL = ['healthy', 'unverified'];

/**
 * What a connection is lent.
 * @typedef {object} Capabilities
 * @property {import('./plugin/plugin.js').Plugin} plugin
 * @property {import('./store/file-store.js').FileStore} store
 * @property {{ send: HttpsClient['send'] }} [http] an `HttpsClient` by default
 * @property {import('./journal.js').Journal[]} [journals] where events and alerts go; nowhere by default
 * @property {import('./clock.js').Clock} [clock]
 * @property {Partial<import('./limits.js').Limits>} [limits]
 * @property {string} [actor] who acts, for records; host and process id by default
 */

/**
 * A request to Procore's REST API.
 * @typedef {object} RequestOptions
 * @property {Record<string, string> | Headers} [headers] not `Authorization`, which is set here
 * @property {string | Uint8Array} [body]
 * @property {unknown} [json] sent as the body, with its content type
 * @property {number} [companyId] the company that the call is for; the connection's by default
 * @property {number} [timeout] how long all attempts together may take, in milliseconds
 * @property {boolean} [idempotent] whether executing it twice does the same as once; decided by the method by default
 * @property {boolean} [park] whether to keep the request and replay it later where it cannot be sent now
 * @property {string} [orderKey] parked requests with the same key are carried out in their order
 */

/**
 * One connection to Procore: one environment, one client id, one user or service account.
 *
 * All methods fail with a {@link ProcoreAuthError}. A caller that does not wait for one does not cut a refresh in half; a process that
 * ends does: `await connection.close()` before.
 */
export class Connection {
  #lent;
  #threads;
  #cache;
  #ownHttp;
  /** The calls that get a token now, by the token that they are to replace. */
  #flights = new Map();
  /** Until when the rate limit lets nothing through, by the elapsed time. */
  #pausedUntil = 0;
  #open = new Set();
  /** The functions whose last call ended with a fault. */
  #faulty = new Set();

  /**
   * @param {import('./settings.js').Settings} settings
   * @param {Capabilities} capabilities
   */
  constructor(settings, capabilities) {
    const { clientSecret, ...rest } = checked(settings);
    const { plugin, store, http, journals = [], clock = systemClock, limits = {}, actor } = checkedCapabilities(capabilities);
    const all = { ...DEFAULT_LIMITS, ...limits };
    const recorder = new Recorder(rest.name, clock, journals);
    this.#ownHttp = http === undefined ? new HttpsClient() : undefined;
    this.#cache = new TokenCache(clock);
    this.#threads = new Threads(plugin, all.concurrentCalls);
    this.#lent = {
      settings: toContract({ clientSecret, ...rest }, actor ?? `${os.hostname()}/${process.pid}`),
      clientSecret,
      egress: new Egress(rest.environment),
      probingEgress: new Egress(rest.environment, { tokenInfoProbes: true }),
      http: http ?? this.#ownHttp,
      clock,
      store: new HoldingStore(new PlainStore(store), clock, recorder),
      recorder,
      limits: withRoomFor(rest.policy, all),
    };
  }

  /**
   * Returns an access token that is good now, and refreshes it first where that is due. While it is not, this does no I/O and does not
   * enter the plugin; otherwise all who ask at once share one call.
   * @returns {Promise<AccessToken>}
   */
  async accessToken() {
    return this.#cache.current() ?? this.#token('accessToken', []);
  }

  /**
   * Returns the token as `accessToken` does, but from the store and not from memory: one that another process has stored meanwhile is
   * seen.
   * @returns {Promise<AccessToken>}
   */
  async storedAccessToken() {
    this.#cache.clear();
    return this.accessToken();
  }

  /**
   * Returns a token to use instead of `rejected`, which the server answered with 401.
   * @param {Secret} rejected
   * @returns {Promise<AccessToken>}
   */
  async renewRejected(rejected) {
    check(rejected instanceof Secret, 'The rejected token is a `Secret`: `token.bearer`.');
    this.#cache.reject(rejected);
    return this.#token('renewRejected', [rejected.expose()]);
  }

  /**
   * Sends a request with a fresh token: answers one 401 with one renewal and one resend, waits as 429 and 503 ask, and repeats only
   * what is safe to repeat. `parked` of the outcome is the request where it was kept instead.
   * @param {string} method
   * @param {string} path an absolute path with an optional query: never a URL, so that a call cannot leave the API host
   * @param {RequestOptions} [options]
   * @returns {Promise<Answer | { parked: any }>}
   */
  async request(method, path, options = {}) {
    const checkedParts = checkedRequest(method, path, options);
    const own = options.timeout ?? Number(this.#lent.settings.policy.callTimeout);
    const deadline = this.#lent.limits.deadline + own;
    const request = { ...contractRequest(method, path, { ...options, ...checkedParts }), notBefore: this.#notBefore() };
    try {
      const { tag, val } = await this.#run('api', 'send', [request], { deadline });
      const outcome = plain(val);
      this.#notePause(outcome.pauseUntil);
      if (tag === 'parked') return { parked: outcome.request };
      this.#lent.recorder.forget();
      return new Answer(outcome);
    } catch (error) {
      // It would be so again.
      if (error.code === 'rate-limited') this.#notePause(error.retryAt);
      throw error;
    }
  }

  /** Tells how the connection is, with the evidence. Sends nothing. */
  async status() {
    return this.#withWhatIsHeld(plain(await this.#run('auth', 'status', [])));
  }

  /** Begins a sign-in; returns the link to open, anywhere. */
  async beginLogin() {
    return plain(await this.#run('auth', 'beginLogin', []));
  }

  /**
   * Finishes the sign-in with what came back: the whole callback URL, or the code that Procore shows.
   * @param {string | Secret} callback
   */
  async finishLogin(callback) {
    return plain(await this.#change('finishLogin', [secretText(callback, 'What came back of a sign-in')]));
  }

  /** Asks Procore who the token acts as, and keeps the answer as evidence. */
  async verify() {
    return plain(await this.#run('auth', 'verify', []));
  }

  /** Signs out: revokes the tokens at the server, then deletes them. */
  async revoke() {
    await this.#change('revoke', []);
  }

  /** Deletes the tokens without telling the server. */
  async forget() {
    await this.#change('forget', []);
  }

  /**
   * Takes over tokens from elsewhere: the bytes of a token endpoint's reply as a script saved it.
   * @param {Uint8Array} reply
   * @param {{ replace?: boolean }} [options] whether to replace tokens that are there
   */
  async adopt(reply, { replace = false } = {}) {
    check(reply instanceof Uint8Array, 'A reply is a `Uint8Array`.');
    check(typeof replace === 'boolean', '`replace` is true or false.');
    return plain(await this.#change('adopt', [new Uint8Array(reply), replace]));
  }

  /**
   * One visit of a keeper: refreshes where that is due, replays what is parked, raises and clears the incident. Come back at
   * `comeBackAt`.
   * @param {number} [nextVisit] in how many milliseconds the next visit is, where it comes at a time of its own
   */
  async upkeep(nextVisit) {
    check(nextVisit === undefined || isCount(nextVisit), 'The next visit is in a whole number of milliseconds.');
    const span = nextVisit === undefined ? undefined : BigInt(nextVisit);
    const visit = plain(await this.#replaying('auth', 'upkeep', [span, this.#notBefore()]));
    this.#notePause(visit.pauseUntil);
    if (WELL.includes(visit.status.health)) this.#lent.recorder.forget();
    return { ...visit, status: this.#withWhatIsHeld(visit.status) };
  }

  /** Lists the parked requests, in the order in which they were parked. */
  async parked() {
    return plain(await this.#run('api', 'parked', []));
  }

  /**
   * Replays the parked requests in order, or the one that is named, whatever its state.
   * @param {string} [id]
   */
  async replay(id) {
    check(id === undefined || isText(id), 'The id of a parked request is a text.');
    const report = plain(await this.#replaying('api', 'replay', [id, this.#notBefore()]));
    this.#notePause(report.pauseUntil);
    return report;
  }

  /**
   * Deletes a parked request.
   * @param {string} id
   */
  async discard(id) {
    check(isText(id), 'The id of a parked request is a text.');
    await this.#run('api', 'discard', [id]);
  }

  /** Looks for the cause of trouble, and returns what it found, most likely first. Spends nothing. */
  async diagnose() {
    return plain(await this.#run('advice', 'diagnose', [], { isProbing: true }));
  }

  /**
   * Waits until the open calls have ended and all tokens that were received are saved, then ends the threads. Where the store cannot
   * be written, that waits until it can: a process that ends before loses the sign-in.
   */
  async close() {
    await Promise.allSettled(this.#open);
    await this.#lent.store.settled();
    await this.#lent.recorder.settled();
    await this.#threads.close();
    await this.#ownHttp?.close();
  }

  async [Symbol.asyncDispose]() {
    await this.close();
  }

  /** Gets a token from the plugin, in one call for all who want the same. */
  #token(name, args) {
    const flight = `${this.#cache.generation} ${name} ${args.join()}`;
    const running = this.#flights.get(flight);
    if (running !== undefined) return running;
    const { generation } = this.#cache;
    const call = this.#run('auth', name, args, { keepsCache: true })
      .then((token) => {
        const fresh = new AccessToken(plain(token));
        this.#lent.recorder.forget();
        this.#cache.fill(fresh, generation);
        return fresh;
      })
      .finally(() => this.#flights.delete(flight));
    this.#flights.set(flight, call);
    return call;
  }

  /** Makes a call that changes whose tokens they are: nothing from before it is served during it or after it. */
  async #change(name, args) {
    this.#cache.clear();
    try {
      return await this.#run('auth', name, args);
    } finally {
      this.#cache.clear();
    }
  }

  #replaying(face, name, args) {
    return this.#run(face, name, args, { deadline: this.#lent.limits.replayDeadline });
  }

  /** Makes a call, which goes on to its end where the caller's patience does not. */
  #run(face, name, args, { deadline = this.#lent.limits.deadline, isProbing = false, keepsCache = false } = {}) {
    const call = new Call(this.#lent, deadline, isProbing);
    const running = this.#execute(call, face, name, args).finally(() => {
      if (call.tokensInDoubt && !keepsCache) this.#cache.clear();
    });
    this.#open.add(running);
    running.catch(() => {}).finally(() => this.#open.delete(running));
    return within(deadline + GRACE, running, () => this.#noted(name, outOfPatience()));
  }

  async #execute(call, face, name, args) {
    let ended;
    try {
      const lender = (...question) => call.lend(...question);
      ended = await this.#threads.call([face, name], args, lender, this.#lent.limits.compute);
    } catch (error) {
      await call.end(true);
      throw this.#fault(name, error);
    }
    // Frees the lock before anyone hears of the result.
    await call.end(false);
    this.#noteSuccess(name);
    if ('ok' in ended) return ended.ok;
    const { kind, diagnosis, retryAt } = plain(ended.error);
    throw new ProcoreAuthError(kind, diagnosis, retryAt);
  }

  #fault(name, error) {
    return this.#noted(name, error instanceof Stopped ? error.toError() : hostFailed(error));
  }

  /** Tells a fault that lasts as one alert. */
  #noted(name, fault) {
    const severity = this.#faulty.has(name) ? 'warning' : 'alert';
    this.#faulty.add(name);
    this.#lent.recorder.record(severity, fault.code, fault.summary, [['function', name]]);
    return fault;
  }

  #noteSuccess(name) {
    if (!this.#faulty.delete(name)) return;
    this.#lent.recorder.record('info', 'plugin-recovered', 'the plugin works again', [['function', name]]);
  }

  /** Tokens that live in this process alone are at risk, unless things are worse. */
  #withWhatIsHeld(status) {
    return this.#lent.store.holds && WELL.includes(status.health) ? { ...status, health: 'at-risk' } : status;
  }

  #notBefore() {
    const { clock } = this.#lent;
    const left = this.#pausedUntil - clock.elapsed();
    return left > 0 ? BigInt(clock.now() + Math.ceil(left)) : undefined;
  }

  #notePause(until) {
    if (until === undefined) return;
    const { clock } = this.#lent;
    this.#pausedUntil = Math.max(this.#pausedUntil, clock.elapsed() + until - clock.now());
  }
}

function contractRequest(method, path, { headers, body, json, companyId, timeout, idempotent, park = false, orderKey }) {
  const named = headers.map(([name, value]) => ({ name, value }));
  const hasType = named.some(({ name }) => name.toLowerCase() === 'content-type');
  if (json !== undefined && !hasType) named.push({ name: 'content-type', value: 'application/json' });
  return {
    method,
    path,
    headers: named,
    body: new Uint8Array(isText(body) ? Buffer.from(body) : (body ?? [])),
    companyId: companyId === undefined ? undefined : BigInt(companyId),
    timeout: timeout === undefined ? undefined : BigInt(timeout),
    idempotent,
    park,
    orderKey,
  };
}

/** Does not repeat the text of an error that is not the contract's: who knows what is in it. */
function hostFailed(error) {
  return internal(
    'host-panicked',
    `the host failed while the plugin ran: ${nameOf(error)}`,
    'a defect of this host or of a capability that was given to it',
    'report it',
  );
}

function outOfPatience() {
  return internal(
    'plugin-out-of-time',
    'the call did not end within its deadline; it goes on in the background',
    'most likely the store does not answer',
    'check the disk that holds the tokens, and call again',
  );
}
