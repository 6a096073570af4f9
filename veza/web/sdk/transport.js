import { ConnectionLost, ProtocolError, Unauthenticated } from "./errors.js";
import { fieldDetails, refusal } from "./refusals.js";
import { TokenKeeper } from "./tokens.js";
import { quiet, within } from "./waiting.js";
import { camel, given } from "./wire.js";

/** One REST call: credentials, envelope, errors. */
export class Transport {
  #fetch;
  #timeoutMs;
  #cookies;

  constructor({ baseUrl, timeoutMs, tokens, onTokens, cookies, fetch }) {
    this.baseUrl = baseUrl.replace(/\/+$/, "");
    this.#timeoutMs = timeoutMs;
    this.#cookies = cookies;
    // A browser's fetch wants to be called as nobody's method.
    this.#fetch = (...request) => fetch(...request);
    this.keeper = new TokenKeeper({ renew: (token) => this.#renewAlone(token), tokens, onTokens, cookies });
  }

  get signedIn() {
    return this.keeper.tokens !== null;
  }

  /**
   * Make a call as the signed-in user (`signed`) or as nobody; resolves with `data`, its names in camelCase.
   *
   * `body` is sent as JSON without its undefined and null members, or as it is when it is a `FormData`; `raw` gives
   * the body of the answer as a `Blob`, `keep` leaves the names as they came. An expired access token is renewed and
   * the call made again, once. Rejects with a `ClientError`, or the reason of `signal`.
   */
  call(method, path, options = {}) {
    return quiet(this.#call(method, path, options));
  }

  /** A call whose answer tells nothing. */
  done(method, path, options = {}) {
    return quiet(this.#call(method, path, options).then(() => undefined));
  }

  /** A call of whose answer one member is wanted. */
  pick(member, method, path, options = {}) {
    return quiet(this.#call(method, path, options).then((data) => data[member]));
  }

  async #call(method, path, { signed = true, ...options }) {
    const { signal } = options;
    let token = signed ? await this.keeper.access(signal) : undefined;
    let response = await this.#send(method, path, token, options);
    if (signed && response.status === 401) {
      token = await this.keeper.renew(token, signal);
      response = await this.#send(method, path, token, options);
    }
    return this.#read(response, options);
  }

  /** Other tabs have the same cookie, whose token is good once: one renewal at a time in the whole browser. */
  #renewAlone(refreshToken) {
    const locks = this.#cookies ? globalThis.navigator?.locks : undefined;
    return locks ? locks.request("veza-refresh", () => this.#renew(refreshToken)) : this.#renew(refreshToken);
  }

  async #renew(refreshToken) {
    const body = refreshToken === null ? {} : { refresh_token: refreshToken };
    try {
      const headers = refreshToken === null ? await this.#proof() : {};
      return await this.call("POST", "auth/refresh", { body, headers, signed: false });
    } catch (error) {
      if (error.status === 400 || error.status === 403) {
        throw new Unauthenticated(error.message, { code: error.code, status: error.status, cause: error });
      }
      throw error;
    }
  }

  /** What shows, of a request that only a cookie signs, that a page of ours sends it. */
  async #proof() {
    const { csrfToken } = await this.call("GET", "csrf-token", { signed: false });
    return { "X-CSRF-Token": csrfToken };
  }

  async #send(method, path, token, { body, query, headers: more, signal, timeoutMs = this.#timeoutMs }) {
    const url = new URL(`${this.baseUrl}/api/v1/${path}`);
    for (const [name, value] of Object.entries(given(query ?? {}))) url.searchParams.set(name, value);
    const headers = token ? { Authorization: `Bearer ${token}`, ...more } : { ...more };
    let content;
    if (body instanceof FormData) content = body;
    else if (body !== undefined) {
      headers["Content-Type"] = "application/json";
      content = JSON.stringify(given(body));
    }
    // The refresh token travels in bodies; a cookie beside it would only be a second, older opinion.
    const credentials = this.#cookies ? "include" : "omit";
    const late = () => new ConnectionLost(`${this.baseUrl} did not answer in time.`);
    return within(timeoutMs, late, signal, async (limit) => {
      try {
        const response = await this.#fetch(url, {
          method,
          headers,
          body: content,
          credentials,
          cache: "no-store",
          redirect: "error",
          signal: limit,
        });
        // Read here, so that the time limit holds for the body too.
        return { status: response.status, ok: response.ok, headers: response.headers, content: await response.blob() };
      } catch (error) {
        if (limit.aborted) throw limit.reason;
        const reason = error.cause?.message || error.message;
        throw new ConnectionLost(`${this.baseUrl} does not answer: ${reason}`, { cause: error });
      }
    });
  }

  async #read(response, { raw = false, keep = false }) {
    if (raw && response.ok) return response.content;
    let answer;
    try {
      answer = JSON.parse(await response.content.text());
    } catch {
      answer = null;
    }
    const requestId = response.headers.get("X-Request-ID") ?? undefined;
    if (!response.ok) throw refused(response, answer, requestId);
    if (typeof answer !== "object" || answer === null || !("data" in answer)) {
      throw new ProtocolError("The server answered something unexpected.", { status: response.status, requestId });
    }
    return keep ? answer.data : camel(answer.data);
  }
}

function refused({ status, headers }, answer, requestId) {
  const retryAfter = seconds(headers.get("Retry-After"));
  if (typeof answer?.error !== "string") {
    // A proxy in between speaks for itself, not in our envelope.
    return refusal(`The server answered ${status}.`, { status, retryAfter, requestId });
  }
  return refusal(answer.error, {
    code: answer.code,
    status,
    retryAfter,
    requestId: answer.request_id ?? requestId,
    details: fieldDetails(answer.details),
  });
}

function seconds(value) {
  // The other allowed form is a date, which our server does not send.
  return value !== null && value !== "" && Number.isFinite(Number(value)) ? Number(value) : undefined;
}
