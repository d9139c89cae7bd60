import assert from 'node:assert/strict';
import { readFile, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';

import { JsonLinesJournal } from '../src/index.js';
import { Recorder } from '../src/recorder.js';
import { folder } from './folder.js';

const EVENT = { at: 1_700_000_000_123, severity: 'alert', code: 'sign-in-required', message: 'line\nbreak "quote"', fields: [['z', '1'], ['a', '\0']] };

test('one object a line, as the Rust host writes it', async (t) => {
  const file = path.join(await folder(t), 'journal.jsonl');
  const journal = new JsonLinesJournal(file);
  journal.record('acme', EVENT);
  await journal.settled();
  await rename(file, `${file}.1`);
  journal.record('acme', EVENT);
  journal.record('acme', EVENT);
  await journal.settled();
  const line = String.raw`{"at":"2023-11-14T22:13:20.123Z","connection":"acme","severity":"alert","code":"sign-in-required","message":"line\nbreak \"quote\"","fields":{"z":"1","a":"\u0000"}}`;
  assert.equal(await readFile(file, 'utf8'), `${line}\n${line}\n`);
  assert.equal((await stat(file)).mode & 0o777, 0o600);
  assert.equal(journal.lost, 0);
});

test('an alert that comes again is one for an hour, until things work', () => {
  const time = { elapsed: 0 };
  const severities = [];
  const clock = { now: () => 0, elapsed: () => time.elapsed };
  const recorder = new Recorder('acme', clock, [{ record: (_, event) => severities.push(event.severity) }]);
  const tell = (stage) => recorder.recordOfPlugin('alert', 'unavailable', '', [['stage', stage]]);
  tell('working');
  tell('working');
  tell('urgent');
  time.elapsed = 3_600_000;
  tell('working');
  recorder.forget();
  tell('working');
  assert.deepEqual(severities, ['alert', 'warning', 'alert', 'alert', 'alert']);
});
