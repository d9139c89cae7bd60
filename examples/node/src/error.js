/**
 * Who can cure an error, and when.
 * @typedef {'invalid-input' | 'configuration' | 'sign-in-required' | 'unavailable' | 'busy' | 'storage' | 'unknown-outcome' | 'internal'} ErrorKind
 */

/**
 * What is the matter, for a person: never a secret, never only a code.
 * @typedef {object} Diagnosis
 * @property {string} code the machine code; the set is open
 * @property {string} summary what happened
 * @property {string} cause why, most likely
 * @property {string} remedy what to do about it
 * @property {string[]} evidence the facts that it rests on
 */

/** Why a call gave no result. Contains no secret. */
export class ProcoreAuthError extends Error {
  /**
   * @param {ErrorKind} kind
   * @param {Diagnosis} diagnosis
   * @param {number} [retryAt]
   */
  constructor(kind, diagnosis, retryAt) {
    super(`${diagnosis.summary} [${diagnosis.code}]`);
    this.name = 'ProcoreAuthError';
    /** Who can cure it, and when. */
    this.kind = kind;
    /** The machine code: stable, to be compared. */
    this.code = diagnosis.code;
    this.summary = diagnosis.summary;
    /** Why it happened, most likely: a sentence. */
    this.cause = diagnosis.cause;
    /** What to do about it. */
    this.remedy = diagnosis.remedy;
    this.evidence = diagnosis.evidence;
    /** The earliest moment, as of `Date.now()`, at which the same call can go better; `undefined` where waiting does not help. */
    this.retryAt = retryAt;
  }
}

/**
 * Makes an error of this host's own.
 * @param {string} code
 * @param {string} summary
 * @param {string} cause
 * @param {string} remedy
 */
export function internal(code, summary, cause, remedy) {
  return new ProcoreAuthError('internal', { code, summary, cause, remedy, evidence: [] });
}

/**
 * Names what was thrown, without its text: who knows what is in it.
 * @param {unknown} thrown
 */
export function nameOf(thrown) {
  return thrown instanceof Error ? thrown.name : typeof thrown;
}

/**
 * Makes an error about the caller's settings.
 * @param {string} code
 * @param {string} summary
 * @param {string} remedy
 */
export function misconfigured(code, summary, remedy) {
  const cause = 'The settings that this program was given.';
  return new ProcoreAuthError('configuration', { code, summary, cause, remedy, evidence: [] });
}

/**
 * Makes an error about what the caller gave.
 * @param {string} code
 * @param {string} summary
 */
export function invalidInput(code, summary) {
  const cause = 'What this program gave to the call.';
  return new ProcoreAuthError('invalid-input', { code, summary, cause, remedy: 'Correct the call.', evidence: [] });
}
