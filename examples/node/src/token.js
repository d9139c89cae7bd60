import { Secret } from './secret.js';

/** An access token with its times, in milliseconds as of `Date.now()`. Prints `****` in place of the token. */
export class AccessToken {
  /** @param {{ bearer: string, refreshAt: number, expiresAt: number }} token */
  constructor({ bearer, refreshAt, expiresAt }) {
    /** The value for `Authorization: Bearer`: a secret. */
    this.bearer = new Secret(bearer);
    /** From this moment on, ask again. Until then the token may be used without asking. */
    this.refreshAt = refreshAt;
    /** When the server stops accepting the token, by this machine's clock. */
    this.expiresAt = expiresAt;
    Object.freeze(this);
  }

  /** Returns the value of the header `Authorization`: a secret too. */
  authorization() {
    return `Bearer ${this.bearer.expose()}`;
  }
}
