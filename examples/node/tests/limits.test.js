import assert from 'node:assert/strict';
import test from 'node:test';

import { DEFAULT_LIMITS, withRoomFor } from '../src/limits.js';
import { DEFAULT_POLICY } from '../src/settings.js';

test('a long wait for the lock and two requests for a token fit into the deadlines', () => {
  const long = withRoomFor({ ...DEFAULT_POLICY, tokenTimeout: 90_000, lockWait: 120_000 }, DEFAULT_LIMITS);
  assert.deepEqual([long.deadline, long.replayDeadline], [300_000, 600_000]);
  const usual = withRoomFor(DEFAULT_POLICY, { ...DEFAULT_LIMITS, replayDeadline: 1 });
  assert.deepEqual([usual.deadline, usual.replayDeadline, usual.hostCalls], [120_000, 105_000, 41_000]);
});
