/** The threads on which calls of the plugin run: one for each that runs at once. Idle ones wait for the next call. */
import { MessageChannel, Worker } from 'node:worker_threads';

import { Stopped, outOfMemory, outOfTime, trapped } from './stopped.js';

const THREAD = new URL('./thread.js', import.meta.url);

/** What the JavaScript around the plugin may take, in MB. The plugin's own memory is bounded in its module. */
const RESOURCES = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 32 };

/**
 * How a call of the plugin ended: with a result, or with an error of the contract.
 * @typedef {{ ok: any } | { error: any }} Ended
 */

/**
 * Answers the plugin's calls of the host. Fails with a {@link Stopped} to end the plugin's call.
 * @typedef {(face: string, name: string, args: any[]) => Promise<{ ok: any } | { failure: any }>} Lender
 */

export class Threads {
  #plugin;
  #most;
  #idle = [];
  #count = 0;
  /** Those who wait for a thread. */
  #waiting = [];

  /**
   * @param {import('./plugin.js').Plugin} plugin
   * @param {number} most
   */
  constructor(plugin, most) {
    this.#plugin = plugin;
    this.#most = most;
  }

  /**
   * Calls a function of a fresh instance. Fails with a {@link Stopped}, or with what the host failed with.
   * @param {[face: string, name: string]} name
   * @param {any[]} args
   * @param {Lender} lender
   * @param {number} compute how long it may compute, in milliseconds
   * @returns {Promise<Ended>}
   */
  async call(name, args, lender, compute) {
    const thread = await this.#take();
    try {
      return await thread.call(name, args, lender, compute);
    } finally {
      this.#give(thread);
    }
  }

  /** Ends the threads. No call may be running. */
  async close() {
    this.#count -= this.#idle.length;
    await Promise.all(this.#idle.splice(0).map((thread) => thread.end()));
  }

  async #take() {
    const died = this.#idle.filter((thread) => !thread.isAlive);
    this.#count -= died.length;
    this.#idle = this.#idle.filter((thread) => thread.isAlive);
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle;
    if (this.#count >= this.#most) {
      const handed = await new Promise((resolve) => this.#waiting.push(resolve));
      // In place of one that died.
      return handed ?? new Thread(this.#plugin);
    }
    this.#count += 1;
    return new Thread(this.#plugin);
  }

  #give(thread) {
    const next = this.#waiting.shift();
    const usable = thread.isAlive ? thread : undefined;
    if (next !== undefined) next(usable);
    else if (usable !== undefined) this.#idle.push(usable);
    else this.#count -= 1;
  }
}

class Thread {
  #worker;
  #host;
  #answers = new Int32Array(new SharedArrayBuffer(4));
  /** @type {Call | undefined} */
  #call;
  isAlive = true;

  constructor(plugin) {
    const { port1, port2 } = new MessageChannel();
    this.#host = port1;
    this.#worker = new Worker(THREAD, {
      workerData: { source: plugin.source, modules: plugin.modules, host: port2, answers: this.#answers },
      transferList: [port2],
      env: {},
      argv: [],
      execArgv: [],
      resourceLimits: RESOURCES,
    });
    this.#host.on('message', (question) => this.#answer(question));
    this.#worker.on('message', (message) => (message.begun ? this.#begun() : this.#ended(message)));
    this.#worker.on('error', (error) => this.#died(error));
    this.#worker.on('exit', () => this.#died(trapped('its thread ended')));
    this.#rest();
  }

  call(name, args, lender, compute) {
    return new Promise((resolve, reject) => {
      this.#call = new Call(lender, compute, resolve, reject, () => this.#stop(outOfTime()));
      // The program lives at least as long as the call.
      this.#worker.ref();
      this.#host.ref();
      this.#worker.postMessage({ name, args });
    });
  }

  end() {
    this.isAlive = false;
    return this.#worker.terminate();
  }

  async #answer({ face, name, args, computed }) {
    const call = this.#call;
    if (call === undefined || !this.isAlive) return;
    call.waits();
    let answer;
    try {
      answer = await call.lender(face, name, args);
    } catch (error) {
      call.stopped ??= error;
      answer = { stopped: true };
    }
    if (call !== this.#call || !this.isAlive) return;
    this.#host.postMessage(answer);
    Atomics.add(this.#answers, 0, 1);
    Atomics.notify(this.#answers, 0);
    call.computes(computed);
  }

  /** Starting a thread is not the plugin's computing. The plugin may have asked something before this was read. */
  #begun() {
    if (this.#call?.isFresh) this.#call.computes(0);
  }

  #ended(ended) {
    const call = this.#call;
    if (call === undefined) return;
    this.#rest();
    if (call.stopped !== undefined) call.reject(call.stopped);
    else if ('trap' in ended) call.reject(trapped(ended.trap));
    else call.resolve(ended);
  }

  #died(error) {
    this.isAlive = false;
    const call = this.#call;
    if (call === undefined) return;
    this.#rest();
    if (error.code === 'ERR_WORKER_OUT_OF_MEMORY') call.reject(outOfMemory());
    else call.reject(error instanceof Stopped ? error : trapped(error.message));
  }

  /** Ends the thread, whatever it does. */
  #stop(reason) {
    this.#died(reason);
    this.#worker.terminate();
  }

  #rest() {
    this.#call?.waits();
    this.#call = undefined;
    this.#worker.unref();
    this.#host.unref();
  }
}

/** A call that runs, and the watch over how long it computes. */
class Call {
  #compute;
  #onOutOfTime;
  #timer;
  /** Why the host ended it, where it did. */
  stopped;
  /** Whether the plugin has neither computed nor waited so far. */
  isFresh = true;

  constructor(lender, compute, resolve, reject, onOutOfTime) {
    this.lender = lender;
    this.resolve = resolve;
    this.reject = reject;
    this.#compute = compute;
    this.#onOutOfTime = onOutOfTime;
  }

  /** The plugin computes from now on; it has computed for so long before. */
  computes(before) {
    this.isFresh = false;
    const timer = setTimeout(async () => {
      // Where this thread was busy, the plugin's next word may be waiting to be read.
      for (let round = 0; round < 2; round += 1) await new Promise(setImmediate);
      if (this.#timer === timer) this.#onOutOfTime();
    }, Math.max(0, this.#compute - before));
    this.#timer = timer;
  }

  /** The plugin waits for the host, or is done. */
  waits() {
    this.isFresh = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
