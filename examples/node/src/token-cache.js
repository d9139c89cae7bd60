/**
 * Keeps the current access token until its refresh moment.
 *
 * The plugin decides the moment; the cache only compares, and trusts neither clock alone: the wall clock may be set back, and the
 * elapsed time may stand still while the machine sleeps.
 */
export class TokenCache {
  #clock;
  #kept;
  /** Counts the changes: tells whether a token that a call brings is still welcome when it ends. */
  generation = 0;

  /** @param {import('./clock.js').Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /**
   * Returns the token while it is not due for a refresh.
   * @returns {import('./token.js').AccessToken | undefined}
   */
  current() {
    if (this.#kept === undefined) return undefined;
    const { token, receivedAt, receivedAfter } = this.#kept;
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsed() - receivedAfter;
    const isCurrent = receivedAt <= now && now < token.refreshAt && elapsed < token.refreshAt - receivedAt;
    return isCurrent ? token : undefined;
  }

  /**
   * Keeps a token, unless the cache has changed since `generation`.
   * @param {import('./token.js').AccessToken} token
   * @param {number} generation
   */
  fill(token, generation) {
    if (generation !== this.generation) return;
    this.generation += 1;
    this.#kept = { token, receivedAt: this.#clock.now(), receivedAfter: this.#clock.elapsed() };
  }

  /** Forgets the token, and keeps calls that run from putting theirs in its place. */
  clear() {
    this.generation += 1;
    this.#kept = undefined;
  }

  /**
   * Forgets the token if it is this one.
   * @param {import('./secret.js').Secret} bearer
   */
  reject(bearer) {
    if (this.#kept?.token.bearer.equals(bearer)) this.clear();
  }
}
