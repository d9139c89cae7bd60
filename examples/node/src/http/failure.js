/** Why there is no reply; `code` is one that the contract lists at `http.failure`. */
export class HttpFailure extends Error {
  /**
   * @param {string} code
   * @param {string} message without a secret
   * @param {boolean} sent whether any byte of the request may have reached the server
   */
  constructor(code, message, sent) {
    super(message);
    this.name = 'HttpFailure';
    this.code = code;
    this.sent = sent;
  }
}

/**
 * A request that was refused before a socket was opened. The message does not repeat what was refused: it may hold a token.
 * @param {string} code
 * @param {string} message
 */
export function refusal(code, message) {
  return new HttpFailure(code, message, false);
}
