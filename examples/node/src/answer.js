/** What `Headers` would refuse: a reply must not be lost for it. */
const UNFIT = /[^\t\x20-\x7e\x80-\xff]/g;

/** What Procore answered, with whatever status. */
export class Answer {
  /** Tells an answer from a request that was parked. */
  parked = undefined;

  /** @param {any} response of the contract, in plain values */
  constructor({ status, headers, body, attempts, diagnosis }) {
    this.status = status;
    this.headers = new Headers(headers.map(({ name, value }) => [name, value.replace(UNFIT, '?')]));
    this.body = Buffer.from(body);
    /** How many times the request was sent. */
    this.attempts = attempts;
    /** What a refusal means; `undefined` for a status below 400. */
    this.diagnosis = diagnosis;
  }

  /** Whether the status is a success. */
  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  text() {
    return this.body.toString('utf8');
  }

  json() {
    return JSON.parse(this.text());
  }
}
