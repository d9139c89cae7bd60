/** A journal in a file of JSON lines, one object per event, in the format of the Rust host's: several processes may share it. */
import { openForAppending } from './store/private-file.js';

/**
 * What happened.
 * @typedef {object} Event
 * @property {number} at as of `Date.now()`
 * @property {'debug' | 'info' | 'warning' | 'alert'} severity
 * @property {string} code
 * @property {string} message
 * @property {[string, string][]} fields
 */

/**
 * Takes events. Must not throw, and must not print a secret: there is none in an event.
 * @typedef {{ record: (connection: string, event: Event) => void, settled?: () => Promise<void> }} Journal
 */

/** @implements {Journal} */
export class JsonLinesJournal {
  #path;
  /** One line after the other. */
  #writing = Promise.resolve();
  /** How many events could not be written. */
  lost = 0;

  /** @param {string} path */
  constructor(path) {
    this.#path = path;
  }

  record(connection, event) {
    const line = {
      at: new Date(event.at).toISOString(),
      connection,
      severity: event.severity,
      code: event.code,
      message: event.message,
      fields: Object.fromEntries(event.fields),
    };
    this.#writing = this.#writing.then(() => this.#append(`${JSON.stringify(line)}\n`));
  }

  /** Waits until every event so far is written, or lost. */
  settled() {
    return this.#writing;
  }

  /** Opened anew for each event, so that the file can be renamed away at any time. */
  async #append(line) {
    try {
      const handle = await openForAppending(this.#path);
      await handle.write(line).finally(() => handle.close());
    } catch (error) {
      this.lost += 1;
      process.emitWarning(`${this.#path}: an event could not be written: ${error.message}`, 'ProcoreAuthJournal');
    }
  }
}
