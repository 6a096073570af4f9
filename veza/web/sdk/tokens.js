import { Unauthenticated } from "./errors.js";
import { abortable, quiet } from "./waiting.js";

// A token that is about to expire would expire on the way.
const EXPIRY_MARGIN_S = 30;

/**
 * Holds the tokens of one sign-in and renews them, one renewal at a time for all callers: a refresh token is good
 * once. `renew(refreshToken)` asks the server; in cookie mode the refresh token is null here and the browser has it.
 */
export class TokenKeeper {
  #renew;
  #tokens;
  #onTokens;
  #cookies;
  // Null: the age of the given token is not known; the server's 401 will tell.
  #freshUntil = null;
  #renewal = null;

  constructor({ renew, tokens = null, onTokens, cookies = false }) {
    this.#renew = renew;
    this.#tokens = tokens;
    this.#onTokens = onTokens;
    this.#cookies = cookies;
  }

  get tokens() {
    return this.#tokens;
  }

  /** Take the pair of a login, a registration or a renewal. */
  accept({ accessToken, refreshToken, expiresIn }) {
    this.#tokens = { accessToken, refreshToken: this.#cookies ? null : refreshToken };
    const marginS = Math.min(EXPIRY_MARGIN_S, expiresIn / 10);
    this.#freshUntil = Date.now() + (expiresIn - marginS) * 1000;
    this.#tell();
  }

  forget() {
    if (this.#tokens === null) return;
    this.#tokens = null;
    this.#freshUntil = null;
    this.#tell();
  }

  /** A token that is good for now. Rejects with `Unauthenticated` when nobody is signed in (any more). */
  async access(signal) {
    if (this.#tokens === null) throw new Unauthenticated("Nobody is signed in.");
    if (this.#freshUntil !== null && Date.now() >= this.#freshUntil) await this.renew(this.#tokens.accessToken, signal);
    return this.#current();
  }

  /**
   * A token other than `refused`: the one that came meanwhile, or that of a renewal, which goes on when `signal`
   * ends the waiting: its pair is the only good one.
   */
  async renew(refused, signal) {
    if (this.#renewal === null && this.#tokens?.accessToken === refused) {
      this.#renewal = quiet(this.#renewed(this.#tokens.refreshToken));
    }
    if (this.#renewal !== null) await abortable(this.#renewal, signal);
    return this.#current();
  }

  /** Sign in with the cookie of the browser. */
  async resume() {
    const credentials = await this.#renew(null);
    this.accept(credentials);
    return credentials;
  }

  async #renewed(refreshToken) {
    const before = this.#tokens;
    try {
      const credentials = await this.#renew(refreshToken);
      if (this.#tokens === before) this.accept(credentials);
    } catch (error) {
      if (error instanceof Unauthenticated && this.#tokens === before) this.forget();
      throw error;
    } finally {
      this.#renewal = null;
    }
  }

  #current() {
    if (this.#tokens === null) throw new Unauthenticated("The session has ended; sign in again.");
    return this.#tokens.accessToken;
  }

  #tell() {
    this.#onTokens?.(this.#tokens);
  }
}
