/** The host's side of one plugin call: what it reaches when it calls an import. Nothing of it outlives the call. */
import { randomBytes } from 'node:crypto';

import { nameOf } from './error.js';
import { HttpFailure, refusal } from './http/failure.js';
import { asksForSecret, encoded } from './http/form.js';
import { hostCallsForSaving } from './limits.js';
import { Stopped, misuse, tooManyHostCalls } from './plugin/stopped.js';
import { StoreFailure } from './store/failure.js';
import { checkedKey, isKey } from './store/key.js';
import { within } from './within.js';

/** How much longer than its timeout an HTTP client may take before it is given up, in milliseconds. */
const OVERTIME = 5000;

/** Where tokens come from, on every login host. */
const TOKEN_ENDPOINT = '/oauth/token';

/** What the keys of entries that may be sent begin with: no other entry, and so no token, leaves the store this way. */
const BODY_PREFIX = 'body-';

/** The most random bytes of one call, as the contract says. */
const MOST_RANDOM = 1024;

/** The most bytes of a code and a field's name, of a message and a field's value, and the most fields of an event. */
const [NAME, TEXT, FIELDS] = [64, 2048, 32];

/**
 * Everything that is lent for one connection.
 * @typedef {object} Lent
 * @property {any} settings as the contract has them
 * @property {import('./secret.js').Secret} clientSecret
 * @property {import('./http/egress.js').Egress} egress
 * @property {import('./http/egress.js').Egress} probingEgress also permits to ask the other environments about a token
 * @property {{ send: import('./http/https-client.js').HttpsClient['send'] }} http
 * @property {import('./clock.js').Clock} clock
 * @property {import('./store/holding-store.js').HoldingStore} store
 * @property {import('./recorder.js').Recorder} recorder
 * @property {import('./limits.js').Limits} limits
 */

export class Call {
  #lent;
  #egress;
  #deadline;
  #hostCallsLeft;
  /** Frees the lock that this call holds. */
  #unlock;
  /** What the token endpoint answered, until the plugin has saved something since. */
  #unsavedReply;
  /** Whether something was sent to the login origin, or a token was refused: a token from before may be no good now. */
  tokensInDoubt = false;

  /**
   * @param {Lent} lent
   * @param {number} deadline how long it may take, in milliseconds
   * @param {boolean} isProbing
   */
  constructor(lent, deadline, isProbing) {
    this.#lent = lent;
    this.#egress = isProbing ? lent.probingEgress : lent.egress;
    this.#deadline = lent.clock.elapsed() + deadline;
    this.#hostCallsLeft = lent.limits.hostCalls;
  }

  /**
   * Answers one call of the host.
   * @type {import('./plugin/threads.js').Lender}
   */
  async lend(face, name, args) {
    this.#hostCallsLeft -= 1;
    if (this.#hostCallsLeft < 0) throw tooManyHostCalls();
    try {
      return { ok: await this.#functions[face][name](...args) };
    } catch (error) {
      if (error instanceof Stopped) throw error;
      return { failure: contractFailure(face, error) };
    }
  }

  /**
   * Ends the call's hold on everything. `isStopped` where the plugin did not come to its end: what it had received and not saved is
   * kept, since it may be the only copy of tokens.
   * @param {boolean} isStopped
   */
  async end(isStopped) {
    const reply = this.#unsavedReply;
    this.#unsavedReply = undefined;
    if (isStopped && reply !== undefined) await this.#lent.store.keepUnread(reply);
    await this.#free();
  }

  #functions = {
    connection: { settings: () => this.#lent.settings },
    http: { send: (request) => this.#send(request) },
    clock: {
      now: () => BigInt(this.#lent.clock.now()),
      elapsed: () => BigInt(this.#lent.clock.elapsed()),
      sleep: (span) => this.#sleep(span),
    },
    random: { bytes: (count) => this.#random(count) },
    store: {
      get: async (key) => contractEntry(await this.#lent.store.get(checkedKey(key))),
      put: (key, value, expected) => this.#put(key, value, expected),
      hold: (key, value, expected) => this.#hold(key, value, expected),
      delete: async (key, expected) => contractWrite(await this.#lent.store.delete(checkedKey(key), expected)),
      list: (prefix) => this.#lent.store.list(prefix),
      lock: (wait) => this.#lock(wait),
      unlock: () => this.#free(),
    },
    journal: { record: (event) => this.#record(event) },
  };

  /** Shortens a wait of the plugin's to what is left of the call, in milliseconds. */
  #shortened(span) {
    const left = Math.max(0, this.#deadline - this.#lent.clock.elapsed());
    return span < BigInt(left) ? Number(span) : left;
  }

  async #sleep(span) {
    const shortened = this.#shortened(span);
    if (shortened > 0) await this.#lent.clock.sleep(shortened);
  }

  #random(count) {
    if (count > MOST_RANDOM) throw misuse(`more than ${MOST_RANDOM} random bytes`);
    return new Uint8Array(randomBytes(count));
  }

  async #send(request) {
    const timeout = this.#shortened(request.timeout);
    if (this.#hostCallsLeft < hostCallsForSaving(this.#lent.settings.policy.parkedCount)) {
      throw refusal('too-many-host-calls', 'the call is near the end of its host calls, and what is left is for saving');
    }
    const prepared = await this.#prepared(request);
    if (timeout === 0) throw refusal('timeout', 'no time was left for the request');
    const { replySize } = this.#lent.limits;
    const gaveUp = () => new HttpFailure('timeout', 'the HTTP client did not return', true);
    const reply = await within(timeout + OVERTIME, this.#lent.http.send(prepared, { timeout, replySize }), gaveUp);
    if (reply.body.length > replySize) {
      throw new HttpFailure('reply-too-large', 'the reply is longer than it may be', true);
    }
    if (reply.status === 401) this.tokensInDoubt = true;
    const hasTokens = prepared.url.pathname === TOKEN_ENDPOINT && reply.status >= 200 && reply.status < 300;
    if (hasTokens) this.#unsavedReply = reply.body;
    return { ...reply, body: alone(reply.body) };
  }

  /** Applies the egress policy, and fills in the client secret where it belongs. */
  async #prepared({ method, url: text, headers: wanted, body }) {
    const { url, destination } = this.#egress.permit(method, text, asksForSecret(body));
    if (destination === 'login') this.tokensInDoubt = true;
    let headers = this.#egress.permitHeaders(wanted);
    if (body.tag === 'form') {
      headers = headers.filter(([name]) => name !== 'content-type');
      headers.push(['content-type', 'application/x-www-form-urlencoded']);
    }
    return { method, url, headers, body: await this.#body(body, destination) };
  }

  async #body({ tag, val }, destination) {
    switch (tag) {
      case 'bytes':
        return val;
      case 'form':
        // The policy has said so already; the secret itself is handed out on this line's word alone.
        return encoded(val, destination === 'login' ? this.#lent.clientSecret : undefined);
      case 'stored':
        return this.#storedBody(val, destination);
      default:
        return new Uint8Array();
    }
  }

  async #storedBody(key, destination) {
    if (destination !== 'api' || !key.startsWith(BODY_PREFIX)) {
      throw refusal('invalid-request', 'only a stored body may be sent, and only to the API');
    }
    const entry = await this.#lent.store.get(checkedKey(key)).catch((error) => {
      throw refusal('store', `${error.code}: ${error.message}`);
    });
    if (entry === undefined) throw refusal('no-such-entry', 'the stored body does not exist');
    return entry.value;
  }

  async #put(key, value, expected) {
    const write = await this.#lent.store.put(checkedKey(key), value, expected);
    if (write.stored !== undefined) {
      // The plugin can note again what it has told.
      this.#lent.recorder.forget();
      this.#unsavedReply = undefined;
    }
    return contractWrite(write);
  }

  #hold(key, value, expected) {
    if (!isKey(key)) throw misuse('it held an invalid key');
    if (this.#unlock === undefined) throw misuse('it held an entry without the lock');
    this.#unsavedReply = undefined;
    return this.#lent.store.hold(key, value, expected);
  }

  async #lock(wait) {
    if (this.#unlock !== undefined) throw misuse('it locked twice');
    this.#unlock = await this.#lent.store.lock(this.#shortened(wait));
    return this.#unlock !== undefined;
  }

  async #free() {
    const unlock = this.#unlock;
    this.#unlock = undefined;
    await unlock?.();
  }

  #record({ severity, code, message, fields }) {
    const kept = fields.slice(0, FIELDS).map(({ name, value }) => [shortened(name, NAME), shortened(value, TEXT)]);
    this.#lent.recorder.recordOfPlugin(severity, shortened(code, NAME), shortened(message, TEXT), kept);
  }
}

function contractWrite(write) {
  if (write.stored !== undefined) return { tag: 'stored', val: write.stored };
  return { tag: 'conflict', val: contractEntry(write.current) };
}

function contractEntry(entry) {
  return entry === undefined ? undefined : { ...entry, value: alone(entry.value) };
}

/** Bytes go to the plugin's thread with the memory that they are in, and Node's buffers share theirs with others. */
function alone(bytes) {
  return new Uint8Array(bytes);
}

/** A defect of this host's is the failure of one request, or of the store: the plugin deals with it. */
function contractFailure(face, error) {
  if (error instanceof HttpFailure) return { code: error.code, message: error.message, sent: error.sent };
  if (error instanceof StoreFailure) return { code: error.code, message: error.message };
  if (face === 'http') return { code: 'connection-closed', message: `the HTTP client failed: ${nameOf(error)}`, sent: true };
  if (face === 'store') return { code: 'io', message: `the store failed: ${nameOf(error)}` };
  throw error;
}

function shortened(text, most) {
  const bytes = Buffer.from(text);
  if (bytes.length <= most) return text;
  const mark = '…';
  const cut = bytes.subarray(0, most - Buffer.byteLength(mark)).toString('utf8');
  return cut.replace(/\uFFFD$/, '') + mark;
}
