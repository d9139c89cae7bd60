/**
 * A thread on which the plugin runs: a fresh instance for each call, so that nothing survives one.
 *
 * The plugin's imports are synchronous, and the host's answers are not: this thread sends each call of the host to the main thread and
 * sleeps until the answer is there. It has nothing but its port: no store, no secret, no environment.
 */
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';

import { IMPORTS, importName } from '../contract.js';

/** @type {{ source: string, modules: Map<string, WebAssembly.Module>, host: import('node:worker_threads').MessagePort, answers: Int32Array }} */
const { source, modules, host, answers } = workerData;

// jco's modules try this first and do without it where it is missing, as in Node 20. Each such try takes milliseconds, though: to
// write its message, V8 parses the whole module once more.
WebAssembly.promising ??= (exported) => exported;

// From the bytes that were checked, not from the disk again.
const { instantiate } = await import(`data:text/javascript;base64,${Buffer.from(source).toString('base64')}`);

/** How long the plugin has computed in this call, and since when it does, in milliseconds. */
let computed = 0;
let since = 0;

/** The host ended the call. */
class Stopped extends Error {}

parentPort.on('message', ({ name: [face, name], args }) => {
  parentPort.postMessage({ begun: true });
  [computed, since] = [0, performance.now()];
  parentPort.postMessage(attempt(face, name, args));
});

function attempt(face, name, args) {
  try {
    return { ok: instantiate((file) => modules.get(file), imports())[face][name](...args) };
  } catch (error) {
    // The error of the function's result comes as it is, everything else as an `Error`.
    if (!(error instanceof Error)) return { error };
    return { trap: error.message.slice(0, 500) };
  }
}

function imports() {
  const lent = Object.entries(IMPORTS).map(([face, names]) => {
    const functions = names.map((name) => [name, (...args) => lend(face, name, args)]);
    return [importName(face), Object.fromEntries(functions)];
  });
  return Object.fromEntries(lent);
}

function lend(face, name, args) {
  computed += performance.now() - since;
  const seen = Atomics.load(answers, 0);
  host.postMessage({ face, name, args, computed });
  Atomics.wait(answers, 0, seen);
  const { ok, failure, stopped } = receiveMessageOnPort(host).message;
  since = performance.now();
  if (stopped) throw new Stopped();
  // What is thrown with a payload is the error of the function's result.
  if (failure !== undefined) throw Object.assign(new Error(failure.code), { payload: failure });
  return ok;
}
