/** The bytes of one entry's file: a header in JSON, a line feed, and the value. */
import { createHash } from 'node:crypto';

import { MAX } from './revision.js';

const FORMAT = 1;
const LINE_FEED = 0x0a;

/** Longer than any header that this format has. */
export const MAX_HEADER = 4096;

/**
 * A file that was read whole.
 * @typedef {object} Decoded
 * @property {number} revision
 * @property {string} [install] which installation wrote it
 * @property {Buffer} value
 */

/** Torn, truncated, empty, changed, or somebody else's. */
export class Damaged extends Error {}

/** A whole file, perhaps, of a later version of this software. */
export class NewerFormat extends Error {}

/**
 * @param {number} revision
 * @param {string | undefined} install
 * @param {Uint8Array} value
 */
export function encode(revision, install, value) {
  // In this order, which readers do not need: so that hosts write the same bytes.
  const header = { ...(install === undefined ? {} : { install }), 'procore-auth': FORMAT, revision, sha256: digest(value) };
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), value]);
}

/**
 * Reads the revision from a file's first bytes, whatever comes after them; `undefined` where there is none.
 * @param {Buffer} start
 */
export function revisionOf(start) {
  const end = start.indexOf(LINE_FEED);
  if (end < 0) return undefined;
  try {
    return parseHeader(start.subarray(0, end)).revision;
  } catch {
    return undefined;
  }
}

/**
 * @param {Buffer} bytes
 * @returns {Decoded}
 */
export function decode(bytes) {
  if (bytes.length === 0) throw new Damaged('the file is empty');
  const end = bytes.subarray(0, MAX_HEADER).indexOf(LINE_FEED);
  if (end < 0) throw new Damaged('the file does not begin with a header');
  const header = parseHeader(bytes.subarray(0, end));
  const value = bytes.subarray(end + 1);
  if (header.sha256.toLowerCase() !== digest(value)) throw new Damaged('the digest does not match');
  return { revision: header.revision, install: header.install, value };
}

function parseHeader(line) {
  const header = parse(line);
  const format = header?.['procore-auth'];
  // The format first: a later one may have another header altogether.
  if (Number.isInteger(format) && format > FORMAT) throw new NewerFormat(String(format));
  if (format !== FORMAT) throw new Damaged('the file does not begin with a header');
  const { revision, sha256, install } = header;
  const complete =
    Number.isInteger(revision) && revision >= 0 && revision <= MAX &&
    typeof sha256 === 'string' && (install === undefined || install === null || typeof install === 'string');
  if (!complete) throw new Damaged('the header is not complete');
  return { revision, sha256, install: install ?? undefined };
}

function parse(line) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
  } catch {
    return undefined;
  }
}

function digest(value) {
  return createHash('sha256').update(value).digest('hex');
}
