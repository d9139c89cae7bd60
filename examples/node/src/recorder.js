/** Where the events of one connection go: the plugin's and this host's. */

/** For how long an alert that comes again is no news, in milliseconds. */
const NEWS = 3_600_000;

/** The plugin's word for the end of a trouble. */
const RECOVERED = 'recovered';

export class Recorder {
  #connection;
  #clock;
  #journals;
  /** The alerts of late: what they told, and when by the elapsed time. */
  #told = new Map();

  /**
   * @param {string} connection
   * @param {import('./clock.js').Clock} clock
   * @param {import('./journal.js').Journal[]} journals
   */
  constructor(connection, clock, journals) {
    this.#connection = connection;
    this.#clock = clock;
    this.#journals = journals;
  }

  /**
   * @param {import('./journal.js').Event['severity']} severity
   * @param {string} code
   * @param {string} message
   * @param {[string, string][]} fields
   */
  record(severity, code, message, fields = []) {
    const event = { at: this.#clock.now(), severity, code, message, fields };
    for (const journal of this.#journals) {
      try {
        journal.record(this.#connection, event);
      } catch (error) {
        process.emitWarning(`a journal failed: ${error?.message}`, 'ProcoreAuthJournal');
      }
    }
  }

  /**
   * Records an event of the plugin. It notes in the store what it has told; where the store cannot be written it tells it at every
   * call: such an alert comes again as a warning.
   */
  recordOfPlugin(severity, code, message, fields) {
    const isRepeated = severity === 'alert' && !this.#isNews(code, fields);
    if (code === RECOVERED) this.forget();
    this.record(isRepeated ? 'warning' : severity, code, message, fields);
  }

  /** Notes that the store or the connection works: whatever is told from now on is news. */
  forget() {
    this.#told.clear();
  }

  /** Waits until every event so far is written. */
  async settled() {
    await Promise.all(this.#journals.map((journal) => journal.settled?.()));
  }

  #isNews(code, fields) {
    const stage = fields.find(([name]) => name === 'stage')?.[1];
    // Everything that is no incident is news.
    if (stage === undefined) return true;
    const now = this.#clock.elapsed();
    const what = `${code} ${stage}`;
    const told = this.#told.get(what);
    if (told !== undefined && now - told < NEWS) return false;
    this.#told.set(what, now);
    return true;
  }
}
