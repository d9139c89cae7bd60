import { internal } from '../error.js';

/** Why the host ended a plugin call. */
export class Stopped extends Error {
  /**
   * @param {string} code
   * @param {string} why
   */
  constructor(code, why) {
    super(why);
    this.code = code;
  }

  /** Makes the caller's error. Holds nothing that the plugin wrote. */
  toError() {
    return internal(
      this.code,
      `the plugin was stopped: ${this.message}`,
      'a defect of the plugin; stored tokens are as its last completed write left them',
      'look for an event with the code `panic` in the journal, and report it; the next call starts afresh',
    );
  }
}

export const outOfTime = () => new Stopped('plugin-out-of-time', 'it computed for longer than it may');
export const outOfMemory = () => new Stopped('plugin-out-of-memory', 'it asked for more memory than it may have');
export const tooManyHostCalls = () => new Stopped('too-many-host-calls', 'it called the host more often than it may');
export const trapped = (why) => new Stopped('plugin-trapped', why);

/** @param {string} what */
export const misuse = (what) => trapped(`it used the host against the contract: ${what}`);
